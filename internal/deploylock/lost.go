package deploylock

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/uptime"
)

// ErrLost says that the lock is somebody else's by now, was removed, or may be taken over.
var ErrLost = errors.New("the lock is lost")

// LostError is a lock that a run has no more, or cannot be sure of any more.
type LostError struct {
	Cluster string
	// Now is who has the lock; nobody is known to without an owner.
	Now Holder
	// Silent is how long it could not be renewed, and Cause why, where that is all that is known.
	Silent time.Duration
	Cause  error
}

// Error names cluster, owner and remedy.
func (e *LostError) Error() string {
	const stopped = "this run was stopped, so that no two change the cluster at the same time"
	switch {
	case e.Now.Owner != "":
		return fmt.Sprintf("cluster %s: the lock of this run is lost: %s of %s has it now; %s: wait for the end of that one, then run this again, which takes up what is there",
			e.Cluster, e.Now.Verb, e.Now.Owner, stopped)
	case e.Silent > 0:
		return fmt.Sprintf("cluster %s: the lock of this run was not renewed for %s%s, so another run may have it; %s: once the API answers, run this again, which takes up what is there",
			e.Cluster, e.Silent.Round(time.Second), because(e.Cause), stopped)
	}
	return fmt.Sprintf("cluster %s: the lock of this run is lost: somebody removed it, and nobody has it now; %s: run this again, which takes up what is there",
		e.Cluster, stopped)
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(" (%v)", err)
}

// Unwrap makes it an ErrLost.
func (e *LostError) Unwrap() error { return ErrLost }

// Renew says that the holder is alive. An ErrLost is for good; other errors may be over the
// next time.
func (l *Lock) Renew(ctx context.Context) error {
	if l.lost != nil {
		return l.lost
	}
	sent := uptime.Now()
	l.asked = sent
	err := l.renew(ctx)
	if lost, ok := errors.AsType[*LostError](err); ok {
		l.lost = lost
		return lost
	}
	if l.trouble = err; err != nil {
		return fmt.Errorf("cluster %s: renew the lock: %w", l.cluster, err)
	}
	l.renewed = sent
	return nil
}

func (l *Lock) renew(ctx context.Context) error {
	held, err := l.leases.Get(ctx, Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return l.removed(ctx)
	}
	if err != nil {
		return err
	}
	if held.UID != l.uid {
		return &LostError{Cluster: l.cluster, Now: describe(held, time.Time{}).Holder}
	}
	now := metav1.NowMicro()
	held.Spec.RenewTime = &now
	_, err = l.leases.Update(ctx, held, metav1.UpdateOptions{FieldManager: manager})
	return err
}

// removed tells a lock that somebody removed from one that went with what it locks, by the
// hand of its holder.
func (l *Lock) removed(ctx context.Context) error {
	lost := &LostError{Cluster: l.cluster}
	if l.holder.Verb != Teardown {
		return lost
	}
	ns, err := l.namespaces.Get(ctx, l.namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && ns.DeletionTimestamp != nil:
		return nil
	case err != nil:
		return err
	}
	return lost
}

// Lost tells, without asking anybody, whether the lock is lost: for good, or because it was
// not renewed for so long that another run may take it over.
func (l *Lock) Lost() error {
	if l.lost != nil {
		return l.lost
	}
	if silent := uptime.Now() - l.renewed; silent > patience(l.duration) {
		return &LostError{Cluster: l.cluster, Silent: silent, Cause: l.trouble}
	}
	return nil
}

// until is the uptime up to which nobody else takes the lock.
func (l *Lock) until() time.Duration { return l.renewed + patience(l.duration) }

// patience is how long a holder relies on a lock that it does not renew. The rest of its
// duration is for requests under way to end in, and for the server's clock, whose notes
// are of full seconds.
func patience(duration time.Duration) time.Duration {
	return duration - max(2*time.Second, duration/12)
}
