package deploylock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

var (
	alice = Holder{Owner: "alice@desk", Verb: "deploy"}
	bob   = Holder{Owner: "bob@laptop", Verb: "teardown"}
)

// TestLock: a lock's life between two operators, on a real API server.
func TestLock(t *testing.T) {
	s := apitest.Start(t)
	c, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	take := func(h Holder, d time.Duration) (*Lock, error) {
		return Acquire(t.Context(), c, "east", "sdn-tunnel", h, d)
	}
	if _, err := take(alice, time.Minute); !errors.Is(err, ErrNoNamespace) {
		t.Fatalf("without a namespace: %v", err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "sdn-tunnel"}}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	first, err := take(alice, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_, err = take(bob, time.Minute)
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.Holder != alice || busy.Duration != time.Minute {
		t.Fatalf("a second one: %v", err)
	}
	for _, want := range []string{"cluster east", "deploy of alice@desk is under way for ", "gives way after 1m0s", "--namespace sdn-tunnel delete lease " + Name} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q: %v", want, err)
		}
	}
	if err := errors.Join(first.Renew(t.Context()), first.Release(t.Context()), first.Release(t.Context())); err != nil {
		t.Errorf("renew, release, release: %v", err)
	}

	// Bob's run dies; alice takes over once it was silent for its duration, not before.
	dead, err := take(bob, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := take(alice, time.Minute); err == nil {
		t.Fatal("taken over before its time")
	}
	var second *Lock
	for end := time.Now().Add(time.Minute); second == nil && time.Now().Before(end); {
		second, err = take(alice, time.Minute)
	}
	if err != nil {
		t.Fatalf("the lock of a dead run: %v", err)
	}
	if err := dead.Renew(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("the dead one renews what is alice's: %v", err)
	}
	if err := dead.Release(t.Context()); err != nil {
		t.Errorf("the dead one releases: %v", err)
	}
	if err := second.Renew(t.Context()); err != nil {
		t.Errorf("alice's lock is gone: %v", err)
	}
}

// TestRenewedIsNotStale: what is renewed is nobody's to take, however long it is held, and
// whatever the holder's clock says.
func TestRenewedIsNotStale(t *testing.T) {
	s := apitest.Start(t)
	c, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	held, err := Acquire(t.Context(), c, "east", "default", alice, 8*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	backdate(t, c, -time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = held.Renew(ctx)
			backdate(t, c, -time.Hour)
			time.Sleep(500 * time.Millisecond)
		}
	}()
	time.Sleep(8500 * time.Millisecond)
	_, err = Acquire(t.Context(), c, "east", "default", bob, 8*time.Second)
	if busy, ok := errors.AsType[*BusyError](err); !ok || busy.Age < 8*time.Second || busy.Silent > 8*time.Second {
		t.Errorf("taken, or of a wrong age: %v", err)
	}
	stop()
	<-done
}

// backdate sets the lock's own times as a clock would that is wrong.
func backdate(t *testing.T, c kubernetes.Interface, by time.Duration) {
	leases := c.CoordinationV1().Leases("default")
	l, err := leases.Get(t.Context(), Name, metav1.GetOptions{})
	if err != nil {
		t.Error(err)
		return
	}
	wrong := metav1.NewMicroTime(time.Now().Add(by))
	l.Spec = coordinationv1.LeaseSpec{HolderIdentity: l.Spec.HolderIdentity, LeaseDurationSeconds: l.Spec.LeaseDurationSeconds, AcquireTime: &wrong, RenewTime: &wrong}
	if _, err := leases.Update(t.Context(), l, metav1.UpdateOptions{FieldManager: manager}); err != nil && !apierrors.IsConflict(err) {
		t.Error(err)
	}
}

// TestHold: all clusters' locks, or none; one without the namespace has none to take.
func TestHold(t *testing.T) {
	s := apitest.Start(t)
	c, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"east", "west"} {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	places := []Place{{"west", "west", c}, {"east", "east", c}, {"north", "north", c}}
	leases := func() (held []string) {
		for _, ns := range []string{"east", "west"} {
			if l, err := c.CoordinationV1().Leases(ns).Get(t.Context(), Name, metav1.GetOptions{}); err == nil {
				held = append(held, ns+" by "+*l.Spec.HolderIdentity)
			}
		}
		return held
	}
	held, release, err := Hold(t.Context(), places, alice)
	if err != nil || len(leases()) != 2 {
		t.Fatalf("held %v: %v", leases(), err)
	}
	if _, _, err := Hold(t.Context(), places[:1], bob); err == nil || !strings.Contains(err.Error(), "cluster west: deploy of alice@desk is under way") {
		t.Errorf("a second one: %v", err)
	}
	if err := errors.Join(held.Err(), release()); err != nil {
		t.Errorf("nobody took them: %v", err)
	}
	if left := leases(); left != nil {
		t.Errorf("after the release: %v", left)
	}
	other, err := Acquire(t.Context(), c, "west", "west", bob, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Hold(t.Context(), places, alice); err == nil {
		t.Error("taken over bob's")
	}
	if held := leases(); len(held) != 1 || held[0] != "west by "+bob.Owner {
		t.Errorf("held %v, want bob's alone", held)
	}
	if err := other.Release(t.Context()); err != nil {
		t.Error(err)
	}
}
