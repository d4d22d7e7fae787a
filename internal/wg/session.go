package wg

import (
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// session is how old the last handshake with a peer is. WireGuard tells when it was by the
// wall clock, which somebody may set; so the moment is kept by the clock that nobody sets.
type session struct {
	told  time.Time // as WireGuard says
	shook time.Time // when that was; zero: not yet
	// believed: it was long ago when this process first looked, if the clock was right.
	believed bool
}

// look takes what WireGuard says now. The age of what is seen for the first time by this
// process has to be believed; later, a handshake that is new is not old, nor yet to come:
// the clock was set.
func (s *session) look(told, now time.Time) {
	if told.IsZero() || told.Equal(s.told) {
		return
	}
	age, first := now.Round(0).Sub(told), s.told.IsZero()
	if age < 0 || !first && age > rejectAfter {
		age = 0
	}
	s.told, s.shook, s.believed = told, now.Add(-age), age > rejectAfter
}

// over tells whether there is no session: none yet, or none any more.
func (s *session) over(now time.Time) bool { return now.Sub(s.shook) > rejectAfter }

// renewedAtOnce bounds how many peers are made anew in one go: each takes the processor for
// some time, and when all nodes of a member fall silent nothing is urgent.
const renewedAtOnce = 100

// lapsed gives peers that are to be made anew: those whose session is over and who have not
// been heard from since. That sends them a handshake at once, and has the device forget the
// time stamp of their last one: of a peer whose clock was set back it takes no handshake
// until that clock is again where it was, which for two such nodes may be for ever. The
// stamp keeps old handshakes from being replayed; one that is forgotten lets somebody who
// recorded some make the device answer each once, and no more, as after any start of it.
//
// A peer that was made anew has not been heard from and has no stamp: it is not made anew
// again before it was.
func (w ways) lapsed(wanted []want, now time.Time) (out []want) {
	for _, p := range wanted {
		s, quiet := w.of(p.PublicKey, now), retry
		if s.session.believed {
			quiet = silence
		}
		if s.received > 0 && s.session.over(now) && now.Sub(s.heard) > quiet && len(out) < renewedAtOnce {
			out = append(out, p)
		}
	}
	return out
}

// renew makes peers anew. What they have carried goes on being counted.
func (p *Part) renew(c *wgctrl.Client, dev *wgtypes.Device, peers []want) error {
	if len(peers) == 0 {
		return nil
	}
	present := make(map[wgtypes.Key]wgtypes.Peer, len(dev.Peers))
	for _, d := range dev.Peers {
		present[d.PublicKey] = d
	}
	var cfg wgtypes.Config
	for _, w := range peers {
		again := newPeer(w)
		if again.Endpoint == nil {
			again.Endpoint = present[again.PublicKey].Endpoint
		}
		cfg.Peers = append(cfg.Peers, wgtypes.PeerConfig{PublicKey: again.PublicKey, Remove: true, UpdateOnly: true}, again)
	}
	if err := c.ConfigureDevice(p.cfg.Link, cfg); err != nil {
		return fmt.Errorf("make %d silent peers of %s anew: %w", len(peers), p.cfg.Link, err)
	}
	for _, w := range peers {
		before, s := present[wgtypes.Key(w.PublicKey)], p.ways[w.PublicKey]
		s.past.rx, s.past.tx = s.past.rx+before.ReceiveBytes, s.past.tx+before.TransmitBytes
		s.received = 0
		p.cfg.Log.Info("a session is over and the peer silent: called anew", "peer", w.Ref, "silent", time.Since(s.heard).Round(time.Second))
	}
	return nil
}

// clock notices that the node's clock was set.
type clock struct{ last time.Time }

// setBy is by how much the clock was set since it was asked before, if that is more than a
// clock that is kept right by small steps goes wrong.
func (c *clock) setBy(now time.Time) time.Duration {
	before := c.last
	c.last = now
	if before.IsZero() {
		return 0
	}
	by := now.Round(0).Sub(before.Round(0)) - now.Sub(before)
	if by.Abs() < time.Second {
		return 0
	}
	return by
}
