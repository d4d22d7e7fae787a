package meshgraph

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
	"github.com/sdn-tunnel/sdn-tunnel/internal/table"
)

// Graph is what is drawn.
type Graph struct {
	Clusters []Cluster
	Links    []Link
	// Pairs are pairs of nodes that are not up; empty unless nodes are shown. More of them,
	// MorePairs, are left out.
	Pairs     []Pair
	MorePairs int
	// ShowNodes: the clusters' nodes are drawn.
	ShowNodes bool
}

// Cluster is a member.
type Cluster struct {
	Name   string
	Health meshstatus.Health
	Nodes  []Node
}

// Node is a node; Name is <cluster>.<node>.
type Node struct {
	Name   string
	Health meshstatus.Health
}

// Link joins two clusters, A before B.
type Link struct {
	A, B   string
	Health meshstatus.Health
	// Up of All pairs of nodes are up, as both ends see them.
	Up, All int32
	// Path is how the ways are, in the direction that is worse; nil: not measured.
	Path *meshstatus.Path
}

// Pair is two nodes that have no young handshake.
type Pair struct{ A, B string }

// maxPairs is how many pairs of nodes a picture has at most.
const maxPairs = 200

// New makes the graph of a status.
func New(r meshstatus.Report, nodes bool) Graph {
	g := Graph{ShowNodes: nodes}
	links := map[[2]string]*Link{}
	known := map[string]bool{}
	for _, c := range r.Clusters {
		known[c.Name] = true
		cluster := Cluster{Name: c.Name, Health: c.Health}
		for _, n := range c.Nodes {
			cluster.Nodes = append(cluster.Nodes, Node{n.Name, n.Health})
		}
		g.Clusters = append(g.Clusters, cluster)
		for _, l := range c.Links {
			link(links, c.Name, l)
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(links), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		g.Links = append(g.Links, *links[key])
		for _, name := range key {
			if !known[name] { // a member that the inventory does not have
				known[name] = true
				g.Clusters = append(g.Clusters, Cluster{Name: name, Health: meshstatus.Unknown})
			}
		}
	}
	slices.SortFunc(g.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) })
	if nodes {
		g.pairs(r)
	}
	return g
}

// link adds what one end says of a link.
func link(links map[[2]string]*Link, from string, l meshstatus.Link) {
	key := [2]string{min(from, l.To), max(from, l.To)}
	at := links[key]
	if at == nil {
		at = &Link{A: key[0], B: key[1], Health: l.Health}
		links[key] = at
	}
	at.Health = meshstatus.Worse(at.Health, l.Health)
	if p := l.Path; p != nil && (at.Path == nil || worse(*p, *at.Path)) {
		at.Path = p
	}
	at.Up, at.All = at.Up+l.Up, at.All+l.Up+l.Stale+l.Never
}

// pairs takes the pairs that are not up, as one end or both see them.
func (g *Graph) pairs(r meshstatus.Report) {
	seen, there := map[Pair]bool{}, map[string]bool{}
	for _, c := range g.Clusters {
		for _, n := range c.Nodes {
			there[n.Name] = true
		}
	}
	for _, c := range r.Clusters {
		for _, n := range c.Nodes {
			if n.Peers == nil {
				continue
			}
			for _, p := range n.Peers.NotUp {
				if there[p.Name] {
					seen[Pair{min(n.Name, p.Name), max(n.Name, p.Name)}] = true
				}
			}
		}
	}
	g.Pairs = slices.SortedFunc(maps.Keys(seen), func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.A, b.A), cmp.Compare(a.B, b.B))
	})
	if more := len(g.Pairs) - maxPairs; more > 0 {
		g.Pairs, g.MorePairs = g.Pairs[:maxPairs], more
	}
}

// state is a cluster in a few words.
func (c Cluster) state() string {
	switch {
	case c.Health == meshstatus.Unknown && len(c.Nodes) == 0:
		return "not read"
	case len(c.Nodes) == 1:
		return "1 node, " + string(c.Health)
	}
	return fmt.Sprintf("%d nodes, %s", len(c.Nodes), c.Health)
}

// worse tells whether one way is worse than the other: by what is lost, then by time.
func worse(a, b meshstatus.Path) bool {
	return cmp.Or(cmp.Compare(a.LossyPairs, b.LossyPairs), cmp.Compare(a.LossPercent, b.LossPercent),
		cmp.Compare(a.RoundTripMicroseconds, b.RoundTripMicroseconds)) > 0
}

// label is how many pairs are up, the round-trip time, and loss where there is any.
func (l Link) label() string {
	text := fmt.Sprintf("%d of %d", l.Up, l.All)
	if p := l.Path; p != nil && p.RoundTripMicroseconds > 0 {
		text += ", " + table.Milliseconds(time.Duration(p.RoundTripMicroseconds)*time.Microsecond)
	}
	if p := l.Path; p != nil && p.LossPercent >= 0.5 {
		text += fmt.Sprintf(", %.0f%% lost", p.LossPercent)
	}
	return text
}

// colours are those of one health: of a line, and of an area with black text on it.
type colours struct{ line, fill string }

// colourOf is told apart by people who do not see red and green as different, too: by
// brightness, and lines that are not well are wider.
var colourOf = map[meshstatus.Health]colours{
	meshstatus.Well:     {"#2e7d32", "#c8e6c9"},
	meshstatus.Degraded: {"#ef6c00", "#ffe0b2"},
	meshstatus.Down:     {"#b71c1c", "#ef9a9a"},
	meshstatus.Unknown:  {"#757575", "#e0e0e0"},
}

// healths in the order of a legend.
var healths = []meshstatus.Health{meshstatus.Well, meshstatus.Degraded, meshstatus.Down, meshstatus.Unknown}
