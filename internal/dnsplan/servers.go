package dnsplan

import (
	"fmt"
	"reflect"
	"slices"
)

// ServerName names our entry among the servers of OpenShift's DNS operator.
const ServerName = "sdn-tunnel"

// server is our entry, in the form of JSON.
func server(zones []string, upstream string) map[string]any {
	list := make([]any, len(zones))
	for i, z := range zones {
		list[i] = z
	}
	return map[string]any{
		"name":          ServerName,
		"zones":         list,
		"forwardPlugin": map[string]any{"policy": "Random", "upstreams": []any{upstream}},
	}
}

// WithServer gives the list spec.servers of dns.operator.openshift.io with our entry in
// it, forwarding zones to upstream (address:port). The other entries stay as they are,
// and so does ours where it says the same.
func WithServer(servers []any, zones []string, upstream string) ([]any, error) {
	ours := server(zones, upstream)
	at := -1
	for i, s := range servers {
		entry, _ := s.(map[string]any)
		if entry["name"] == ServerName {
			at = i
			continue
		}
		taken, _ := entry["zones"].([]any)
		for _, z := range taken {
			if name, ok := z.(string); ok && slices.Contains(zones, name) {
				return nil, fmt.Errorf("spec.servers has an entry %q for %s, which is not sdn-tunnel's: remove it, or set %s", entry["name"], name, instead(name))
			}
		}
	}
	if at < 0 {
		return append(slices.Clone(servers), ours), nil
	}
	out := slices.Clone(servers)
	if !says(out[at], ours) {
		out[at] = ours
	}
	return out, nil
}

// WithoutServer gives the list without our entry.
func WithoutServer(servers []any) []any {
	return slices.DeleteFunc(slices.Clone(servers), func(s any) bool {
		entry, _ := s.(map[string]any)
		return entry["name"] == ServerName
	})
}

// says tells whether is has all that want says; defaults of the API server may be more.
func says(is, want any) bool {
	w, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(is, want)
	}
	m, ok := is.(map[string]any)
	if !ok {
		return false
	}
	for k, v := range w {
		if !says(m[k], v) {
			return false
		}
	}
	return true
}
