package dnsplan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/template"
)

// Options are the same for all clusters; zero values mean the defaults (see Defaults).
type Options struct {
	// Self is the cluster that the server runs in.
	Self string
	// ClusterDomain is the members' own domain.
	ClusterDomain string
	// Port is what the server listens on, for UDP and TCP.
	Port uint16
	// Peers is the folder where each peer has a folder of its name with files
	// "kubeconfig" and "token".
	Peers string
	// ClusterSet adds the zone of services that several clusters share; its objects are
	// read in the own cluster.
	ClusterSet bool
	// Extra is more of a Corefile, taken over as it is.
	Extra string
}

// Defaults fills in what is not set.
func (o Options) Defaults() Options {
	o.ClusterDomain = cmp.Or(o.ClusterDomain, "cluster.local")
	o.Port = cmp.Or(o.Port, 5353)
	o.Peers = cmp.Or(o.Peers, "/etc/sdn-tunnel/peers")
	return o
}

// Plan is a member's DNS.
type Plan struct {
	// Corefile is its server's configuration, and Hash a short name of that.
	Corefile, Hash string
	// Zones are what the cluster's own DNS forwards there.
	Zones []string
	// Peers are the clusters whose API the server reads with the access that Secrets give.
	Peers []string
}

//go:embed corefile.tmpl
var corefileText string

var corefileTemplate = template.Must(template.New("Corefile").Parse(corefileText))

// block is one member's server block.
type block struct {
	Zone, Name string
	Local      bool
	Reverse    []string
}

// Make plans the DNS of cluster o.Self.
func Make(clusters []Cluster, o Options) (Plan, error) {
	o = o.Defaults()
	if err := check(clusters, o); err != nil {
		return Plan{}, err
	}
	if !slices.ContainsFunc(clusters, func(c Cluster) bool { return c.Name == o.Self }) {
		return Plan{}, fmt.Errorf("cluster %q is none of the members", o.Self)
	}
	ordered := slices.Clone(clusters)
	slices.SortFunc(ordered, func(a, b Cluster) int { return strings.Compare(a.Name, b.Name) })
	var p Plan
	var blocks []block
	var remote []netip.Prefix
	for _, c := range ordered {
		b := block{Zone: c.Zone, Name: c.Name, Local: c.Name == o.Self}
		p.Zones = append(p.Zones, c.Zone)
		if !b.Local {
			p.Peers = append(p.Peers, c.Name)
			remote = append(remote, c.Networks...)
			for _, n := range c.Networks {
				b.Reverse = append(b.Reverse, Reverse(n)...)
			}
		}
		blocks = append(blocks, b)
	}
	for _, b := range blocks {
		p.Zones = append(p.Zones, b.Reverse...)
	}
	if o.ClusterSet {
		p.Zones = append(p.Zones, ClusterSetZone)
	}
	var text bytes.Buffer
	if err := corefileTemplate.Execute(&text, map[string]any{"Blocks": blocks, "Remote": remote, "Options": o, "ClusterSetZone": ClusterSetZone}); err != nil {
		return Plan{}, fmt.Errorf("write the Corefile: %w", err)
	}
	if extra := strings.TrimSpace(o.Extra); extra != "" {
		text.WriteString("\n" + extra + "\n")
	}
	p.Corefile = text.String()
	sum := sha256.Sum256(text.Bytes())
	p.Hash = hex.EncodeToString(sum[:5])
	return p, nil
}
