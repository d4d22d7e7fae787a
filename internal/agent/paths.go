package agent

import (
	"math"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Carried is what the tunnel carried from and to a member since the agent began, in bytes.
type Carried struct{ Received, Sent float64 }

// traffic makes rates, and sums that never shrink, of counters that begin anew whenever a
// peer does.
type traffic struct {
	last    map[mesh.Ref]Peer
	at      time.Time
	carried map[string]Carried
}

// note takes the counters of a moment and tells the peers their rates.
func (t *traffic) note(peers []Peer, now time.Time) {
	if t.carried == nil {
		t.carried = map[string]Carried{}
	}
	last := make(map[mesh.Ref]Peer, len(peers))
	for i := range peers {
		p := &peers[i]
		before, known := t.last[p.Ref]
		received, sent := grown(before.Received, p.Received), grown(before.Sent, p.Sent)
		if t.last != nil { // what was there before this process is not its to count
			c := t.carried[p.Ref.Cluster]
			t.carried[p.Ref.Cluster] = Carried{c.Received + float64(received), c.Sent + float64(sent)}
		}
		if took := now.Sub(t.at).Seconds(); known && took > 0 {
			p.Receiving, p.Sending, p.Rated = float64(received)/took, float64(sent)/took, true
		}
		last[p.Ref] = *p
	}
	t.last, t.at = last, now
}

// grown is by how much a counter grew that may have begun anew.
func grown(before, now int64) int64 {
	if now < before {
		return now
	}
	return now - before
}

// pathsOf sums up the ways to the peers, by member; a member of which nothing was measured
// is not in it.
func pathsOf(peers []Peer) map[string]*v1alpha1.PathState {
	of := map[string]*v1alpha1.PathState{}
	trips, lost, probes := map[string][]time.Duration{}, map[string]float64{}, map[string]int{}
	for _, p := range peers {
		c := p.Ref.Cluster
		if !p.Rated && !p.Path.Sure() {
			continue
		}
		if of[c] == nil {
			of[c] = &v1alpha1.PathState{}
		}
		of[c].ReceiveBitsPerSecond += int64(8 * p.Receiving)
		of[c].TransmitBitsPerSecond += int64(8 * p.Sending)
		if !p.Path.Sure() {
			continue
		}
		of[c].Probed++
		lost[c] += p.Path.Loss * float64(p.Path.Probes)
		probes[c] += p.Path.Probes
		if p.Path.RoundTrip > 0 {
			trips[c] = append(trips[c], p.Path.RoundTrip)
		}
		if p.Lossy {
			if of[c].LossyPeers++; len(of[c].Lossy) < v1alpha1.MaxPeersLossy {
				of[c].Lossy = append(of[c].Lossy, p.Ref.String())
			}
		}
	}
	for c, s := range of {
		if probes[c] > 0 {
			s.LossPercent = int32(math.Round(100 * lost[c] / float64(probes[c])))
		}
		if all := trips[c]; len(all) > 0 {
			slices.Sort(all)
			s.RoundTripMicroseconds, s.SlowestMicroseconds = all[len(all)/2].Microseconds(), all[len(all)-1].Microseconds()
		}
	}
	return of
}

// How often measured values are written that nobody has to know at once: a node at most
// every measurePause, and all nodes of a cluster together about once a second, for each
// node of the cluster hears of each write.
const (
	measurePause   = 30 * time.Second
	measureForEach = time.Second
	// What is urgent comes ten times as soon at most.
	urgent = 10
)

// measured decides which values of its ways a node writes.
type measured struct{ at time.Time }

// settle makes the status keep what the API has of the ways as long as that is about
// right, or was written not long ago. Which peers are lossy, and that there are values at
// all, comes sooner.
func (m *measured) settle(want *v1alpha1.TunnelNodeStatus, have v1alpha1.TunnelNodeStatus, nodes int, now time.Time) {
	if want.Peers == nil {
		return
	}
	old := map[string]*v1alpha1.PathState{}
	if have.Peers != nil {
		for _, c := range have.Peers.Clusters {
			old[c.Cluster] = c.Path
		}
	}
	fresh, soon := false, false
	for _, c := range want.Peers.Clusters {
		is, was := c.Path, old[c.Cluster]
		switch {
		case is == nil && was == nil:
		case is == nil || was == nil:
			soon = soon || was == nil
			fresh = true
		default:
			soon = soon || is.LossyPeers != was.LossyPeers || !slices.Equal(is.Lossy, was.Lossy)
			fresh = fresh || differs(*is, *was)
		}
	}
	pause := max(measurePause, time.Duration(nodes)*measureForEach)
	if m.at.IsZero() {
		m.at = now.Add(-pause / urgent) // what an agent finds when it starts is not old
	}
	if since := now.Sub(m.at); soon && since >= pause/urgent || fresh && since >= pause {
		m.at = now
		return
	}
	for i := range want.Peers.Clusters {
		c := &want.Peers.Clusters[i]
		c.Path = old[c.Cluster]
	}
}

// differs tells whether somebody who read the one would be misled about the other.
func differs(is, was v1alpha1.PathState) bool {
	return is.Probed != was.Probed || abs(int64(is.LossPercent)-int64(was.LossPercent)) >= 3 ||
		apart(is.RoundTripMicroseconds, was.RoundTripMicroseconds, 500) || apart(is.SlowestMicroseconds, was.SlowestMicroseconds, 2000) ||
		apart(is.ReceiveBitsPerSecond, was.ReceiveBitsPerSecond, 100_000) || apart(is.TransmitBitsPerSecond, was.TransmitBitsPerSecond, 100_000)
}

// apart tells whether one of two values is more than half as large again as the other, and
// by so much that it matters.
func apart(a, b, matters int64) bool {
	least, most := min(a, b), max(a, b)
	return most-least > matters && most > least+least/2
}

func abs(n int64) int64 { return max(n, -n) }

// repairPause is the least time between two repairs that are written.
const repairPause = time.Minute

// repairOf is the last repair of a part, or the one that the API has if it was not long
// before.
func repairOf(s State, have *v1alpha1.Repair) *v1alpha1.Repair {
	last := have
	for _, p := range s.Parts {
		if p.RepairedAt.IsZero() || last != nil && p.RepairedAt.Sub(last.Time.Time) < repairPause {
			continue
		}
		last = &v1alpha1.Repair{Time: metav1.NewTime(p.RepairedAt.Truncate(time.Second)), Part: p.Name, Change: cut(p.Repaired, 256)}
	}
	return last
}

// cut is at most so many bytes of a text.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xc0 == 0x80 { // in the middle of a character
		most--
	}
	return s[:most]
}
