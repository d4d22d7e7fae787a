package meshstatus

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/table"
)

// pathTo sums up what nodes say of their ways to a member; nil: nothing yet.
func pathTo(member string, nodes []*v1alpha1.TunnelNode) *Path {
	var all []*v1alpha1.PathState
	for _, n := range nodes {
		if n.Status.Peers == nil {
			continue
		}
		for _, c := range n.Status.Peers.Clusters {
			if c.Cluster == member && c.Path != nil {
				all = append(all, c.Path)
			}
		}
	}
	return sum(all)
}

// Path sums up the node's ways to all members; nil: nothing is known yet.
func (n Node) Path() *Path {
	if n.Peers == nil {
		return nil
	}
	var all []*v1alpha1.PathState
	for _, c := range n.Peers.Clusters {
		if c.Path != nil {
			all = append(all, c.Path)
		}
	}
	return sum(all)
}

func sum(all []*v1alpha1.PathState) *Path {
	if len(all) == 0 {
		return nil
	}
	p, lost := &Path{}, 0.0
	var trips []int64
	for _, s := range all {
		p.Probed += s.Probed
		lost += float64(s.LossPercent) * float64(s.Probed)
		if s.RoundTripMicroseconds > 0 {
			trips = append(trips, s.RoundTripMicroseconds)
		}
		p.SlowestMicroseconds = max(p.SlowestMicroseconds, s.SlowestMicroseconds)
		p.LossyPairs += s.LossyPeers
		p.ReceiveBitsPerSecond += s.ReceiveBitsPerSecond
		p.TransmitBitsPerSecond += s.TransmitBitsPerSecond
	}
	if p.Probed > 0 {
		p.LossPercent = lost / float64(p.Probed)
	}
	if slices.Sort(trips); len(trips) > 0 {
		p.RoundTripMicroseconds = trips[len(trips)/2]
	}
	return p
}

// cells are round-trip time, loss, and what is received and sent.
func (p *Path) cells() [4]string {
	if p == nil {
		return [4]string{"-", "-", "-", "-"}
	}
	c := [4]string{"-", "-", table.Bits(float64(p.ReceiveBitsPerSecond)), table.Bits(float64(p.TransmitBitsPerSecond))}
	if p.RoundTripMicroseconds > 0 {
		c[0] = table.Milliseconds(time.Duration(p.RoundTripMicroseconds) * time.Microsecond)
	}
	if p.Probed > 0 {
		c[1] = fmt.Sprintf("%.0f%%", p.LossPercent)
	}
	return c
}

func lossyPeers(p *v1alpha1.PeerCounts) (n int32) {
	for _, c := range p.Clusters {
		if c.Path != nil {
			n += c.Path.LossyPeers
		}
	}
	return n
}

// losses names the peers to which much is lost, each once, with the nodes that say so.
func (j *judge) losses() {
	from, unnamed := map[string][]string{}, int32(0)
	for _, n := range j.cluster.Nodes {
		if n.Peers == nil {
			continue
		}
		named := int32(0)
		for _, c := range n.Peers.Clusters {
			if c.Path == nil {
				continue
			}
			for _, peer := range c.Path.Lossy {
				from[peer] = append(from[peer], n.Node)
				named++
			}
		}
		unnamed += lossyPeers(n.Peers) - named
	}
	for _, peer := range slices.Sorted(maps.Keys(from)) {
		j.problem("Peer "+peer, fmt.Sprintf("a fifth or more of the probes to it is lost on %d of %d nodes (%s): packets are dropped between them",
			len(from[peer]), len(j.cluster.Nodes), few(from[peer])), nil)
	}
	if unnamed > 0 {
		j.problem("Peers", fmt.Sprintf("between %d more pairs of nodes packets are dropped", unnamed), nil)
	}
}

// writePairs writes the pairs of which agents were asked, the worst first; not all of many.
func (r Report) writePairs(w io.Writer, f Format) error {
	var all []Pair
	for _, c := range r.Clusters {
		all = append(all, c.Pairs...)
	}
	if len(all) == 0 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b Pair) int { return -cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.trip(), b.trip())) })
	t := f.table()
	t.Row("NODE", "PEER", "STATE", "HANDSHAKE", "ROUND TRIP", "LOSS", "RECEIVING", "SENDING")
	left := 0
	if !f.Wide && len(all) > manyPairs {
		all, left = all[:manyPairs], len(all)-manyPairs
	}
	for _, p := range all {
		t.Row(p.cells()...)
	}
	fmt.Fprintln(w)
	if err := t.Write(w); err != nil {
		return err
	}
	if left > 0 {
		fmt.Fprintf(w, "%d pairs that are better are left out: -o wide shows them\n", left)
	}
	return nil
}

// manyPairs is how many pairs are shown if not all is asked for.
const manyPairs = 50

// rank is how bad the pair is, before its round-trip time is looked at.
func (p Pair) rank() float64 {
	switch {
	case p.HandshakeAge == nil:
		return 3
	case p.State != "up":
		return 2
	case p.Loss != nil:
		return *p.Loss
	}
	return 0
}

func (p Pair) trip() float64 {
	if p.RoundTrip == nil {
		return 0
	}
	return *p.RoundTrip
}

func (p Pair) cells() []string {
	handshake, trip, loss := "-", "-", "-"
	if p.HandshakeAge != nil {
		handshake = age(time.Duration(*p.HandshakeAge*float64(time.Second))) + " ago"
	}
	if p.RoundTrip != nil {
		trip = table.Milliseconds(time.Duration(*p.RoundTrip * float64(time.Millisecond)))
	}
	if p.Loss != nil {
		loss = fmt.Sprintf("%.0f%%", 100**p.Loss)
	}
	return []string{p.Node, p.Peer, p.State, handshake, trip, loss, table.Bits(p.Receiving), table.Bits(p.Sending)}
}
