package dnsplan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The lines around what is ours in another CoreDNS's Corefile.
const (
	beginMark = "# BEGIN sdn-tunnel: the names of linked clusters; the deploy writes these lines, the teardown removes them"
	endMark   = "# END sdn-tunnel"
	// What identifies the first line, whatever the version that wrote it.
	beginWord = "# BEGIN sdn-tunnel"
)

// ErrNoServer says that a Corefile has no server block whose port a forward could share.
var ErrNoServer = errors.New("it has no server block for plain DNS")

// Forward puts a server block that forwards the zones to upstream into the Corefile of
// the cluster's own DNS, or renews the one that is there. All other bytes stay as they
// are, and Unforward gives the original back.
func Forward(corefile string, zones []string, upstream string) (string, error) {
	rest, err := Unforward(corefile)
	if err != nil {
		return "", err
	}
	keys, err := serverKeys(rest)
	if err != nil {
		return "", err
	}
	port, ok := sharedPort(keys)
	if !ok {
		return "", ErrNoServer
	}
	for _, k := range keys {
		if slices.Contains(zones, k.zone) && k.port == port {
			return "", fmt.Errorf("it has a server block for %s, which is not sdn-tunnel's: remove that block, or set %s", k.zone, instead(k.zone))
		}
	}
	block := beginMark + "\n" + serverBlock(zones, port, upstream) + endMark + "\n"
	// A block that is there stays where it is, so that it can be moved by hand.
	at, _, err := marked(corefile)
	if err != nil {
		return "", err
	}
	return rest[:at] + block + rest[at:], nil
}

// instead is what to set in the inventory where somebody else has the zone.
func instead(zone string) string {
	if zone == ClusterSetZone {
		return "dns_clusterset: false"
	}
	return "another dns_zone"
}

// serverBlock is for a CoreDNS that listens on the port, which is ":53" or empty.
func serverBlock(zones []string, port, upstream string) string {
	var b strings.Builder
	for _, z := range zones {
		b.WriteString(z + port + " ")
	}
	b.WriteString("{\n    errors\n    cache 30 {\n        servfail 1s\n    }\n    forward . " + upstream +
		" {\n        max_concurrent 1000\n    }\n}\n")
	return b.String()
}

// Unforward takes out what Forward put in.
func Unforward(corefile string) (string, error) {
	from, to, err := marked(corefile)
	if err != nil {
		return "", err
	}
	return corefile[:from] + corefile[to:], nil
}

// marked finds the lines that are ours; without any, the place where they would go.
func marked(corefile string) (from, to int, err error) {
	at := 0
	begin, end := -1, -1
	for line := range strings.Lines(corefile) {
		next := at + len(line)
		switch word := strings.TrimSpace(line); {
		case strings.HasPrefix(word, beginWord) && begin < 0:
			begin = at
		case word == endMark && begin >= 0 && end < 0:
			end = next
		case strings.HasPrefix(word, beginWord), word == endMark:
			return 0, 0, fmt.Errorf("its lines %q and %q do not make one pair: remove the lines between them and both by hand", beginWord, endMark)
		}
		at = next
	}
	switch {
	case begin < 0:
		return 0, 0, nil
	case end < 0:
		return 0, 0, fmt.Errorf("it has a line %q and no line %q after it: remove what is sdn-tunnel's by hand", beginWord, endMark)
	}
	return begin, end, nil
}

// serverKey is one of the names of a server block: zone "." without final dot, and port
// as written, with its colon.
type serverKey struct{ zone, port string }

// serverKeys reads the names of a Corefile's server blocks that serve plain DNS. It
// understands blocks, comments, quotes, snippets and imports as CoreDNS does.
func serverKeys(corefile string) ([]serverKey, error) {
	var keys []serverKey
	depth, imports := 0, false
	for line := range strings.Lines(corefile) {
		for i, word := range words(line) {
			switch {
			case word == "{":
				depth++
			case word == "}":
				if depth--; depth < 0 {
					return nil, errors.New("it has more closing than opening braces")
				}
			case depth > 0 || strings.HasPrefix(word, "("):
			case i == 0 && word == "import":
				imports = true
			case !imports:
				if k, ok := parseKey(word); ok {
					keys = append(keys, k)
				}
			}
		}
		imports = false
	}
	if depth != 0 {
		return nil, errors.New("its braces are not in pairs")
	}
	return keys, nil
}

// words splits a line; a comment begins with a word that begins with #. Quoted text is
// no name of a server block and no brace.
func words(line string) []string {
	var out []string
	for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimSpace(line) {
		if line[0] == '"' {
			_, rest, closed := strings.Cut(line[1:], `"`)
			if !closed {
				return out
			}
			line = rest
			continue
		}
		end := strings.IndexAny(line, " \t\r\n\v\f")
		if end < 0 {
			end = len(line)
		}
		out = append(out, line[:end])
		line = line[end:]
	}
	return out
}

// parseKey reads [dns://]zone[:port]; other schemes are not plain DNS.
func parseKey(word string) (serverKey, bool) {
	word = strings.TrimSuffix(word, ",")
	scheme, name, found := strings.Cut(word, "://")
	if !found {
		name = word
	} else if scheme != "dns" {
		return serverKey{}, false
	}
	port := ""
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		name, port = name[:i], name[i:]
	}
	return serverKey{strings.ToLower(strings.TrimSuffix(name, ".")), port}, true
}

// sharedPort is the port of the block for everything or, without one, of the first.
func sharedPort(keys []serverKey) (string, bool) {
	for _, k := range keys {
		if k.zone == "" {
			return k.port, true
		}
	}
	if len(keys) == 0 {
		return "", false
	}
	return keys[0].port, true
}
