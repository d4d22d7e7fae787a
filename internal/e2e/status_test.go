package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// soonWell waits until status finds nothing wrong: agents may have been restarted just now,
// or controllers be on their way to another address of an API.
func (l *lab) soonWell(t *testing.T, args ...string) (r result) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("status: exit %d:\n%s", r.code, r.out)
		}
	}()
	eventually(t, time.Minute, "status is well", func() bool {
		r = l.tunnel(t, time.Minute, append([]string{"status"}, args...)...)
		return r.code == 0
	})
	return r
}

// statusIsWell: all clusters are well, pair by pair, and the picture says the same.
func statusIsWell(t *testing.T, l *lab) {
	r := l.soonWell(t, "-i", l.Inventory)
	t.Logf("status: %.1f s\n%s", r.took.Seconds(), r.out)
	for _, n := range nodes {
		if !strings.Contains(r.out, n) {
			t.Errorf("status does not name %s:\n%s", n, r.out)
		}
	}
	r = l.tunnel(t, time.Minute, "status", "-i", l.Inventory, "-o", "json", "--peers")
	r.must(t)
	var said struct {
		OK       bool
		Clusters []struct {
			Nodes []struct{ Pod, AgentVersion string }
			Links []struct {
				Up, Stale, Never int
				Access           *struct{ Expires time.Time }
				Path             *struct {
					RoundTripMicroseconds int64
					LossyPairs            int32
				}
			}
			Pairs []struct {
				Peer  string
				State string
			}
		}
	}
	if err := json.Unmarshal([]byte(r.out), &said); err != nil || !said.OK || len(said.Clusters) != len(clusters) {
		t.Fatalf("status: %v\n%s", err, r.out)
	}
	for _, c := range said.Clusters {
		if len(c.Links) != 1 || c.Links[0].Up != 4 || c.Links[0].Access == nil || !c.Links[0].Access.Expires.After(time.Now()) {
			t.Errorf("the links are %+v", c.Links)
		}
		if p := c.Links[0].Path; p == nil || p.RoundTripMicroseconds == 0 || p.LossyPairs > 0 {
			t.Errorf("the way is %+v", p)
		}
		if len(c.Pairs) != 4 {
			t.Errorf("agents tell of the pairs %+v", c.Pairs)
		}
		for _, n := range c.Nodes {
			if n.Pod == "" || n.AgentVersion == "" {
				t.Errorf("a node has no pod or version: %+v", n)
			}
		}
	}
	if r = l.tunnel(t, time.Minute, "graph", "-i", l.Inventory, "--nodes"); r.code != 0 || !strings.Contains(r.out, "8 of 8") {
		t.Errorf("graph: exit %d\n%s", r.code, r.out)
	}
}

// gatherHasNoSecrets: logs, objects and the nodes' states are packed, and none of the keys
// and tokens that there are.
func gatherHasNoSecrets(t *testing.T, l *lab) {
	archive := filepath.Join(t.TempDir(), "gathered.tar.gz")
	r := l.tunnel(t, 2*time.Minute, "gather", "-i", l.Inventory, "-o", archive)
	r.must(t)
	files := unpack(t, archive)
	t.Logf("gather: %.1f s, %d files", r.took.Seconds(), len(files))
	all := ""
	for _, text := range files {
		all += text
	}
	for what, secret := range l.secrets(t) {
		if strings.Contains(all, secret) {
			t.Errorf("the archive has %s", what)
		}
	}
	for _, node := range nodes {
		cluster, _, _ := strings.Cut(node, "-")
		text := files["sdn-tunnel-gather/"+cluster+"/nodes/"+node+".json"]
		for _, want := range []string{`"planSource": "api"`, `"allowedIPs"`, "cookie=0x73646e74756e0001", "sdn-tunnel-services", "sdntun0"} {
			if !strings.Contains(text, want) {
				t.Errorf("the state of %s lacks %s:\n%s", node, want, tail(text, 30))
			}
		}
	}
	logs := 0
	for name, text := range files {
		if strings.HasSuffix(name, ".log") && len(text) > 0 {
			logs++
		}
	}
	if logs < 8 || strings.TrimSpace(files["sdn-tunnel-gather/missing.txt"]) != "" {
		t.Errorf("%d logs; missing: %s", logs, files["sdn-tunnel-gather/missing.txt"])
	}
}

// secrets are those that exist: the nodes' keys, what Secrets hold, and the administrators'.
func (l *lab) secrets(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, node := range nodes {
		found["the key of "+node] = strings.TrimSpace(l.node(t, node, "cat /var/lib/sdn-tunnel/key").out)
	}
	for _, cluster := range clusters {
		var list struct {
			Items []struct {
				Metadata struct{ Name string }
				Data     map[string]string
			}
		}
		if err := json.Unmarshal([]byte(l.kubectl(t, cluster, "get", "secrets", "-A", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		for _, s := range list.Items {
			for key, value := range s.Data {
				what := cluster + "'s Secret " + s.Metadata.Name + "/" + key
				plain, err := base64.StdEncoding.DecodeString(value)
				if err != nil || len(plain) < 16 {
					continue
				}
				found[what+", encoded"] = value
				if key == "token" {
					found[what] = string(plain)
				}
			}
		}
	}
	for line := range strings.Lines(string(readFile(t, filepath.Join(l.StateDir, "kubeconfig")))) {
		for _, key := range []string{"client-key-data:", "token:", "password:"} {
			if _, value, ok := strings.Cut(line, key); ok {
				found["the kubeconfig's "+key+" "+value[:4]] = strings.TrimSpace(value)
			}
		}
	}
	if len(found) < 8 {
		t.Fatalf("only %d secrets were found", len(found))
	}
	for what, secret := range found {
		if len(secret) < 16 {
			t.Fatalf("%s is too short to look for", what)
		}
	}
	return found
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func unpack(t *testing.T, archive string) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(readFile(t, archive)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(text)
	}
}
