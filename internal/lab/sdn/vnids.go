package sdn

import (
	"fmt"
	"slices"
	"strings"

	networkv1 "github.com/openshift/api/network/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// Network ids: 0 is global, the first ten are OpenShift's own, 24 bits in all.
const (
	globalVNID = 0
	minVNID    = 10
	maxVNID    = 1<<24 - 1
)

// IsGlobal tells whether a namespace has network id 0 in multitenant mode. In OpenShift
// `default` has from the start, and the cluster's own operators make their namespaces
// so; here that is by name.
func IsGlobal(namespace string) bool {
	return slices.Contains([]string{"default", "kube-system", "kube-public", "kube-node-lease", "metallb-system"}, namespace) ||
		strings.HasPrefix(namespace, "openshift-") || namespace == "openshift"
}

// AllocateVNIDs gives each namespace without a NetNamespace one and returns the new
// ones. In subnet mode every id is 0, and in networkpolicy mode only that of `default`,
// as OpenShift has it.
func AllocateVNIDs(mode tables.Mode, existing []*networkv1.NetNamespace, namespaces []string) ([]*networkv1.NetNamespace, error) {
	used, have := map[uint32]bool{}, map[string]bool{}
	for _, n := range existing {
		used[n.NetID], have[n.Name] = true, true
	}
	next := uint32(minVNID)
	var out []*networkv1.NetNamespace
	for _, name := range namespaces {
		if have[name] {
			continue
		}
		id := uint32(globalVNID)
		if !zeroVNID(mode, name) {
			for used[next] {
				next++
			}
			if next > maxVNID {
				return nil, fmt.Errorf("network id for namespace %s: all %d are used", name, maxVNID)
			}
			id = next
			used[id] = true
		}
		out = append(out, &networkv1.NetNamespace{
			TypeMeta:   metav1.TypeMeta{APIVersion: networkv1.GroupVersion.String(), Kind: "NetNamespace"},
			ObjectMeta: metav1.ObjectMeta{Name: name}, NetName: name, NetID: id,
		})
	}
	return out, nil
}

func zeroVNID(mode tables.Mode, namespace string) bool {
	switch mode {
	case tables.Subnet:
		return true
	case tables.Multitenant:
		return IsGlobal(namespace)
	default:
		return namespace == "default"
	}
}
