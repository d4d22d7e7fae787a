package meshgraph

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

var names = []string{"amsterdam", "berlin", "cairo", "dakar", "essen", "florence", "ghent", "hanoi", "istanbul", "jakarta"}

// mesh is one of n clusters with k nodes each, all well.
func mesh(n, k int) meshstatus.Report {
	var r meshstatus.Report
	for _, name := range names[:n] {
		c := meshstatus.Cluster{Name: name, Health: meshstatus.Well}
		for i := range k {
			c.Nodes = append(c.Nodes, meshstatus.Node{Name: fmt.Sprintf("%s.node-%d", name, i+1), Health: meshstatus.Well, Peers: &v1alpha1.PeerCounts{}})
		}
		for _, other := range names[:n] {
			if other != name {
				c.Links = append(c.Links, meshstatus.Link{To: other, Health: meshstatus.Well, Up: int32(k * k)})
			}
		}
		r.Clusters = append(r.Clusters, c)
	}
	return r
}

// ill has a cluster that was not read, a pair that is down, and a link that is.
func ill(n, k int) meshstatus.Report {
	r := mesh(n, k)
	a := &r.Clusters[0]
	a.Health, a.Nodes[0].Health = meshstatus.Degraded, meshstatus.Degraded
	a.Nodes[0].Peers.NotUp = []v1alpha1.PeerDown{{Name: names[1] + ".node-1"}}
	a.Links[0] = meshstatus.Link{To: names[1], Health: meshstatus.Degraded, Up: int32(k*k - 1), Stale: 1}
	a.Links[0].Path = &meshstatus.Path{Probed: int32(k * k), RoundTripMicroseconds: 1240}
	r.Clusters[1].Links[0] = a.Links[0]
	r.Clusters[1].Links[0].Path = &meshstatus.Path{Probed: int32(k * k), RoundTripMicroseconds: 900, LossPercent: 23.4, LossyPairs: 1}
	r.Clusters[1].Links[0].To = names[0]
	last := &r.Clusters[n-1]
	last.Health, last.Error, last.Nodes, last.Links = meshstatus.Unknown, "no answer", nil, nil
	for i := range n - 1 {
		links := r.Clusters[i].Links
		links[len(links)-1].Health, links[len(links)-1].Up, links[len(links)-1].Stale = meshstatus.Down, 0, int32(k*k)
	}
	return r
}

func TestPictures(t *testing.T) {
	for name, g := range map[string]Graph{
		"two": New(mesh(2, 2), false), "three-ill": New(ill(3, 2), false), "three-ill-nodes": New(ill(3, 2), true),
		"ten": New(mesh(10, 3), false), "ten-ill": New(ill(10, 3), false), "ten-ill-nodes": New(ill(10, 20), true), "none": New(meshstatus.Report{}, false),
	} {
		t.Run(name, func(t *testing.T) {
			for ext, write := range map[string]func(io.Writer) error{".svg": g.WriteSVG, ".dot": g.WriteDOT, ".mmd": g.WriteMermaid} {
				var b strings.Builder
				if err := write(&b); err != nil {
					t.Fatal(err)
				}
				golden.Check(t, name+ext, b.String())
				if ext == ".svg" {
					wellFormed(t, b.String())
				}
			}
		})
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
}

// TestOrderDoesNotMatter: what was read in another order is the same picture.
func TestOrderDoesNotMatter(t *testing.T) {
	draw := func(r meshstatus.Report) string {
		var b strings.Builder
		if err := New(r, true).WriteSVG(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	r := ill(5, 4)
	want := draw(r)
	slices.Reverse(r.Clusters)
	for i := range r.Clusters {
		slices.Reverse(r.Clusters[i].Links)
	}
	if got := draw(r); got != want {
		t.Error("the picture differs")
	}
}

// TestNothingOverlaps: clusters of any number and size have room of their own inside the
// picture, and nodes lie in their cluster.
func TestNothingOverlaps(t *testing.T) {
	for n := 1; n <= len(names); n++ {
		for _, k := range []int{1, 2, 5, 12, 13, 100, 1000} {
			r := mesh(n, k)
			r.Clusters[0].Nodes = r.Clusters[0].Nodes[:1] // sizes differ
			g := New(r, true)
			boxes, right, bottom := g.layout()
			for i, a := range boxes {
				if a.centre.x < a.width/2 || a.centre.y < a.height/2 || a.centre.x+a.width/2 > right || a.centre.y+a.height/2 > bottom {
					t.Errorf("%d clusters of %d nodes: box %d lies outside", n, k, i)
				}
				for _, b := range boxes[:i] {
					if math.Abs(a.centre.x-b.centre.x) < (a.width+b.width)/2 && math.Abs(a.centre.y-b.centre.y) < (a.height+b.height)/2 {
						t.Errorf("%d clusters of %d nodes: boxes overlap", n, k)
					}
				}
				for c := range g.Clusters[i].Nodes {
					p := a.node(c)
					if math.Abs(p.x-a.centre.x) > a.width/2 || math.Abs(p.y-a.centre.y) > a.height/2 {
						t.Fatalf("%d clusters of %d nodes: node %d lies outside of its cluster", n, k, c)
					}
				}
			}
		}
	}
}

// TestPairsAreBounded: a large mesh that is broken is still a picture.
func TestPairsAreBounded(t *testing.T) {
	r := mesh(2, 100)
	for i := range r.Clusters[0].Nodes {
		for k := range 3 {
			p := r.Clusters[0].Nodes[i].Peers
			p.NotUp = append(p.NotUp, v1alpha1.PeerDown{Name: fmt.Sprintf("berlin.node-%d", k+1)})
		}
	}
	g := New(r, true)
	if len(g.Pairs) != maxPairs || g.MorePairs != 100 {
		t.Errorf("%d pairs, %d more", len(g.Pairs), g.MorePairs)
	}
	if g := New(r, false); len(g.Pairs) != 0 {
		t.Errorf("%d pairs where no nodes are", len(g.Pairs))
	}
}

// TestNamesAreQuoted: no name of an object is taken for markup.
func TestNamesAreQuoted(t *testing.T) {
	r := meshstatus.Report{Clusters: []meshstatus.Cluster{{Name: `a"]<script>`, Health: meshstatus.Well, Nodes: []meshstatus.Node{{Name: `a"]<script>.b\n"`, Health: meshstatus.Well}}}}}
	g := New(r, true)
	for _, write := range []func(io.Writer) error{g.WriteSVG, g.WriteDOT, g.WriteMermaid} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if text := b.String(); strings.Contains(text, `a"]`) || (strings.Contains(text, "<script") && !strings.HasPrefix(text, "graph \"")) {
			t.Errorf("markup in\n%s", text)
		}
	}
}
