package wg

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// PeerState is what WireGuard knows of a peer.
type PeerState struct {
	Ref       mesh.Ref // empty: not a peer of the last Apply
	PublicKey mesh.Key
	Endpoint  netip.AddrPort // where it was heard last; invalid: not known
	// LastHandshake is zero if there was none yet. A time of this process is to be taken
	// from it: the clock may have been set since.
	LastHandshake    time.Time
	RxBytes, TxBytes int64
	AllowedIPs       []netip.Prefix
}

// Up tells whether a session with the peer can be alive.
func (s PeerState) Up(now time.Time) bool {
	return !s.LastHandshake.IsZero() && now.Sub(s.LastHandshake) <= rejectAfter
}

// Peers reads the state of all peers. Without an interface there are none.
func (p *Part) Peers(context.Context) ([]PeerState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cfg.Namespace.Exists() {
		return nil, nil
	}
	var states []PeerState
	err := p.device(func(_ *wgctrl.Client, dev *wgtypes.Device) error {
		p.ways.look(p.resolved(p.wanted), dev.Peers, time.Now())
		for _, peer := range dev.Peers {
			key := mesh.Key(peer.PublicKey)
			state := PeerState{
				Ref: p.refs[key], PublicKey: key, Endpoint: addrPort(peer.Endpoint),
				LastHandshake: peer.LastHandshakeTime,
				RxBytes:       peer.ReceiveBytes, TxBytes: peer.TransmitBytes,
				AllowedIPs: prefixes(peer.AllowedIPs),
			}
			if w := p.ways[key]; w != nil {
				state.LastHandshake = w.session.shook
				state.RxBytes, state.TxBytes = state.RxBytes+w.past.rx, state.TxBytes+w.past.tx
			}
			states = append(states, state)
		}
		return nil
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return states, err
}
