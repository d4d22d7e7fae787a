package dnsplan

import "strings"

// Forwarded gives the zones of our entry among the servers of OpenShift's DNS operator, and
// where it forwards them; nothing without an entry.
func Forwarded(servers []any) (zones []string, upstream string) {
	for _, s := range servers {
		entry, _ := s.(map[string]any)
		if entry["name"] != ServerName {
			continue
		}
		list, _ := entry["zones"].([]any)
		for _, z := range list {
			if name, ok := z.(string); ok {
				zones = append(zones, name)
			}
		}
		plugin, _ := entry["forwardPlugin"].(map[string]any)
		upstreams, _ := plugin["upstreams"].([]any)
		if len(upstreams) > 0 {
			upstream, _ = upstreams[0].(string)
		}
	}
	return zones, upstream
}

// ForwardedIn gives the same of our block in a Corefile.
func ForwardedIn(corefile string) (zones []string, upstream string) {
	from, to, err := marked(corefile)
	if err != nil {
		return nil, ""
	}
	depth := 0
	for line := range strings.Lines(corefile[from:to]) {
		for i, word := range words(line) {
			switch {
			case word == "{":
				depth++
			case word == "}":
				depth--
			case depth == 0:
				if k, ok := parseKey(word); ok {
					zones = append(zones, k.zone)
				}
			case depth == 1 && i == 2 && strings.HasPrefix(strings.TrimSpace(line), "forward "):
				upstream = word
			}
		}
	}
	return zones, upstream
}
