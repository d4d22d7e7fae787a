package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// KeyRing is the node's key, and how it is replaced.
type KeyRing interface {
	// Public is the key in use, and since when it is.
	Public() (mesh.Key, time.Time)
	// Pending tells whether a successor was made that is not in use yet.
	Pending() bool
	// Prepare gives the successor; it is made if there is none.
	Prepare() (mesh.Key, error)
	// Switch has the node use the successor, at once. Back undoes it.
	Switch() error
	Back() error
	// Drop destroys the successor, Forget the former key.
	Drop() error
	Forget() error
}

const (
	// confirmWithin is how long the other members have for answering to a new key. A
	// change passes through the mesh in tenths of a second.
	confirmWithin = 10 * time.Second
	confirmPause  = 100 * time.Millisecond
	// announcePause is the wait between two tries to tell the API a new key.
	announcePause = time.Second
)

// errUndone: the new key was announced and could not be used, so the node is back at the
// former one.
var errUndone = errors.New("the new key was not taken up")

// Rotation replaces a node's key while traffic goes on.
//
// The new key is told to the API and then used at once. Until a peer has heard of it, what
// the node sends there is lost; what the peer sends still arrives, in the session that
// there is. So the loss is as long as the news takes. If a member does not take the new
// key up in time, the node goes back to the former one.
type Rotation struct {
	Keys KeyRing
	// Announce tells the API that a key is the node's.
	Announce func(context.Context, mesh.Key) error
	Peers    func(context.Context) ([]Peer, error)
	Log      *slog.Logger
	// Watched, if not nil, gets the peers whenever they were read meanwhile.
	Watched func([]Peer)
	// Patience is how long the other members have for answering; zero: ten seconds.
	Patience time.Duration
}

// Do replaces the key once. An error that wraps errUndone means that the former one is in
// use again, or why it cannot be; any other, that nothing has changed, or that ctx ended
// before that was known.
func (r Rotation) Do(ctx context.Context) error {
	if r.Patience == 0 {
		r.Patience = confirmWithin
	}
	before, _ := r.Keys.Public()
	up, err := r.up(ctx)
	if err != nil {
		return err
	}
	next, err := r.Keys.Prepare()
	if err != nil {
		return err
	}
	if err := r.announce(ctx, next); ctx.Err() != nil {
		return err // the API may have it: the next process goes on from here
	} else if err != nil {
		return errors.Join(err, r.Keys.Drop())
	}
	if err := r.Keys.Switch(); err != nil {
		// Not tried again soon: each time the members would take up a key that is not used.
		return fmt.Errorf("%w: use it: %w", errUndone, errors.Join(err, r.announce(ctx, before), r.Keys.Drop()))
	}
	_, since := r.Keys.Public()
	r.Log.Info("the node has a new key", "publicKey", next.String())
	silent := r.confirm(ctx, up, since)
	if len(silent) == 0 || ctx.Err() != nil {
		return r.Keys.Forget()
	}
	err = fmt.Errorf("%w: no node of %v answered to it within %v, is the controller there well?", errUndone, silent, r.Patience)
	back := r.Keys.Back()
	if now, _ := r.Keys.Public(); now != before { // the members have to know the key that there is
		r.Log.Error("the former key cannot be used again", "error", errors.Join(err, back))
		return errors.Join(fmt.Errorf("%w The former key cannot be used again: %w; the new one stays", err, back), r.Keys.Forget())
	}
	r.Log.Error("went back to the former key", "error", errors.Join(err, back))
	return errors.Join(fmt.Errorf("%w The former key is in use again", err), back, r.announce(ctx, before))
}

// up are the members with peers that answer now.
func (r Rotation) up(ctx context.Context) (map[string]bool, error) {
	peers, err := r.Peers(ctx)
	up := map[string]bool{}
	for _, p := range peers {
		if p.State(time.Now()) == PeerUp {
			up[p.Ref.Cluster] = true
		}
	}
	return up, err
}

// announce tries until the API has answered: while nobody knows whether it has taken a
// key, the node can neither use that nor do without it.
func (r Rotation) announce(ctx context.Context, key mesh.Key) error {
	for {
		err := r.Announce(ctx, key)
		if err == nil || refused(err) {
			return err
		}
		if !sleep(ctx, announcePause) {
			return errors.Join(err, ctx.Err())
		}
	}
}

// errNotAsked: the API was not asked at all.
var errNotAsked = errors.New("the API has not said yet what this node is")

// refused tells whether an error says for sure that nothing was written.
func refused(err error) bool {
	if errors.Is(err, errNotAsked) {
		return true
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && !apierrors.IsTooManyRequests(err)
}

// confirm waits until a node of each member that answered before has done so to the new
// key, and gives the members of which none has.
func (r Rotation) confirm(ctx context.Context, before map[string]bool, since time.Time) []string {
	for deadline := time.Now().Add(r.Patience); ; {
		answered := map[string]bool{}
		peers, err := r.Peers(ctx)
		for _, p := range peers {
			answered[p.Ref.Cluster] = answered[p.Ref.Cluster] || p.LastHandshake.After(since)
		}
		if err == nil && r.Watched != nil {
			r.Watched(peers)
		}
		var silent []string
		for cluster := range before {
			if !answered[cluster] {
				silent = append(silent, cluster)
			}
		}
		if len(silent) == 0 || time.Now().After(deadline) || !sleep(ctx, confirmPause) {
			slices.Sort(silent)
			return silent
		}
	}
}
