package deploylock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/uptime"
)

const (
	// Name is the Lease's.
	Name = "sdn-tunnel-run"
	// DefaultDuration is how long a lock outlives a holder that is dead.
	DefaultDuration = time.Minute
	// grace is how long a held lock is asked for again: its holder may be ending.
	grace = 2 * time.Second
	pause = 200 * time.Millisecond

	manager        = "sdn-tunnel-lock"
	verbAnnotation = "sdntunnel.io/run"
)

// Teardown is the verb of a run that removes the namespace, and the lock with it.
const Teardown = "teardown"

// ErrNoNamespace says that sdn-tunnel is not in the cluster, so there is nothing to lock.
var ErrNoNamespace = errors.New("there is no namespace to lock")

// Holder is who holds a lock, and what for.
type Holder struct {
	Owner string // user@host
	Verb  string // deploy, teardown, upgrade
}

// Me is this process as a holder.
func Me(verb string) Holder {
	name, host := "somebody", "somewhere"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return Holder{Owner: name + "@" + host, Verb: verb}
}

// BusyError is a lock that somebody else holds.
type BusyError struct {
	Cluster, Namespace string
	Holder             Holder
	// Age is how long it is held, Silent how long it was not renewed.
	Age, Silent, Duration time.Duration
}

// Error names owner, age and remedy.
func (e *BusyError) Error() string {
	return fmt.Sprintf("cluster %s: %s of %s is under way for %s (last heard of %s ago): wait for its end, then run this again; "+
		"one that is dead gives way after %s, or: kubectl --namespace %s delete lease %s",
		e.Cluster, e.Holder.Verb, e.Holder.Owner, e.Age.Round(time.Second), e.Silent.Round(time.Second), e.Duration, e.Namespace, Name)
}

// Lock is one that is held.
type Lock struct {
	cluster, namespace string
	leases             coordination.LeaseInterface
	namespaces         corev1.NamespaceInterface
	uid                types.UID
	holder             Holder
	duration           time.Duration

	// Of uptime: when it was renewed for sure, and when that was tried last; trouble is what
	// came of it.
	renewed, asked time.Duration
	trouble        error
	lost           *LostError
}

// Acquire takes the lock of a cluster, whose name is for errors. It returns a *BusyError
// if somebody else holds it, ErrNoNamespace if there is no such namespace.
func Acquire(ctx context.Context, c kubernetes.Interface, cluster, namespace string, h Holder, duration time.Duration) (*Lock, error) {
	// Looked at before anything is written: a cluster that cannot be a member stays untouched.
	_, err := c.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, ErrNoNamespace
	}
	if err != nil {
		return nil, fmt.Errorf("cluster %s: look for the namespace %s: %w", cluster, namespace, err)
	}
	leases := c.CoordinationV1().Leases(namespace)
	for end := time.Now().Add(grace); ; {
		sent := uptime.Now()
		lease, err := leases.Create(ctx, lease(h, duration), metav1.CreateOptions{FieldManager: manager})
		switch {
		case err == nil:
			return &Lock{
				cluster: cluster, namespace: namespace, leases: leases, namespaces: c.CoreV1().Namespaces(),
				uid: lease.UID, holder: h, duration: duration, renewed: sent, asked: sent,
			}, nil
		case apierrors.IsNotFound(err):
			return nil, ErrNoNamespace
		case apierrors.HasStatusCause(err, "NamespaceTerminating"):
			return nil, fmt.Errorf("cluster %s: namespace %s is being removed: wait for the end of the teardown, then run this again", cluster, namespace)
		case !apierrors.IsAlreadyExists(err):
			return nil, fmt.Errorf("cluster %s: take the lock %s/%s: %w", cluster, namespace, Name, err)
		}
		busy, err := giveWay(ctx, leases, cluster, namespace)
		if err != nil {
			return nil, err
		}
		if busy == nil {
			continue
		}
		if time.Now().After(end) {
			return nil, busy
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

func lease(h Holder, duration time.Duration) *coordinationv1.Lease {
	now := metav1.NowMicro()
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: Name, Labels: map[string]string{"app.kubernetes.io/part-of": "sdn-tunnel"},
			Annotations: map[string]string{verbAnnotation: h.Verb},
		},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &h.Owner, LeaseDurationSeconds: new(int32(duration.Seconds())),
			AcquireTime: &now, RenewTime: &now,
		},
	}
}

// giveWay removes a lock whose holder is dead; of any other it says who holds it. Without
// both the lock is free by now.
func giveWay(ctx context.Context, leases coordination.LeaseInterface, cluster, namespace string) (*BusyError, error) {
	fail := func(err error) error {
		return fmt.Errorf("cluster %s: look at the lock %s/%s: %w", cluster, namespace, Name, err)
	}
	held, err := leases.Get(ctx, Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(err)
	}
	now, err := serverTime(ctx, leases, held)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil, nil // released, or renewed meanwhile: look again
	}
	if err != nil {
		return nil, fail(err)
	}
	busy := describe(held, now)
	busy.Cluster, busy.Namespace = cluster, namespace
	if busy.Silent <= busy.Duration {
		return busy, nil
	}
	err = leases.Delete(ctx, Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &held.UID, ResourceVersion: &held.ResourceVersion}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return nil, fmt.Errorf("cluster %s: take over the lock %s/%s: %w", cluster, namespace, Name, err)
	}
	return nil, nil
}

// describe says of a Lease who holds it, by the server's clock.
func describe(held *coordinationv1.Lease, now time.Time) *BusyError {
	busy := &BusyError{Holder: Holder{Owner: "somebody", Verb: "a run"}, Age: now.Sub(held.CreationTimestamp.Time), Duration: DefaultDuration}
	if held.Spec.HolderIdentity != nil {
		busy.Holder.Owner = *held.Spec.HolderIdentity
	}
	if verb := held.Annotations[verbAnnotation]; verb != "" {
		busy.Holder.Verb = verb
	}
	if s := held.Spec.LeaseDurationSeconds; s != nil {
		busy.Duration = time.Duration(*s) * time.Second
	}
	renewed := held.CreationTimestamp.Time
	if t, ok := written(held); ok && t.After(renewed) {
		renewed = t
	}
	busy.Silent = now.Sub(renewed)
	return busy
}

// written is when a lock's holder last wrote it, as the server noted it.
func written(l *coordinationv1.Lease) (time.Time, bool) {
	i := slices.IndexFunc(l.ManagedFields, func(f metav1.ManagedFieldsEntry) bool { return f.Manager == manager && f.Time != nil })
	if i < 0 {
		return time.Time{}, false
	}
	return l.ManagedFields[i].Time.Time, true
}

// serverTime is what the API server's clock says, found out by an update that is not kept.
func serverTime(ctx context.Context, leases coordination.LeaseInterface, held *coordinationv1.Lease) (time.Time, error) {
	touched := held.DeepCopy()
	touched.Spec.HolderIdentity = new("who asks for the time " + rand.Text())
	got, err := leases.Update(ctx, touched, metav1.UpdateOptions{FieldManager: manager, DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		return time.Time{}, err
	}
	if t, ok := written(got); ok {
		return t, nil
	}
	return time.Now(), nil
}

// Release gives the lock back; one that is lost already is no error.
func (l *Lock) Release(ctx context.Context) error {
	err := l.leases.Delete(ctx, Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &l.uid}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("cluster %s: release the lock: %w", l.cluster, err)
	}
	return nil
}
