package sdn

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
)

// podRecord is a pod on the bridge, as the CNI plugin told it.
type podRecord struct {
	Sandbox   string     `json:"sandbox"`
	Namespace string     `json:"namespace"`
	Name      string     `json:"name"`
	IP        netip.Addr `json:"ip"`
	// Veth is the node's end of the pod's interface.
	Veth string `json:"veth"`
	port uint32
}

// podStore keeps the pods on the bridge in a file, so that a bridge that is made again
// gets their ports back.
type podStore struct {
	path string
	pods map[string]podRecord
}

func openPodStore(path string) (*podStore, error) {
	s := &podStore{path: path, pods: map[string]podRecord{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pods on the bridge: %w", err)
	}
	if err := json.Unmarshal(data, &s.pods); err != nil {
		return nil, fmt.Errorf("pods on the bridge: %s: %w", path, err)
	}
	return s, nil
}

func (s *podStore) all() []podRecord {
	return slices.SortedFunc(maps.Values(s.pods), func(a, b podRecord) int { return cmp.Compare(a.Sandbox, b.Sandbox) })
}

func (s *podStore) put(p podRecord) error {
	s.pods[p.Sandbox] = p
	return writeJSON(s.path, s.pods)
}

func (s *podStore) remove(sandbox string) error {
	delete(s.pods, sandbox)
	return writeJSON(s.path, s.pods)
}

// writeJSON replaces a file as a whole or not at all.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
