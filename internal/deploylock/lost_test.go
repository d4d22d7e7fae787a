package deploylock

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttest "k8s.io/client-go/testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/uptime"
)

func fakeCluster() *fake.Clientset {
	return fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "sdn-tunnel"}})
}

// unlock removes a lock as somebody does who wants it out of the way.
func unlock(ctx context.Context, c *fake.Clientset) error {
	return c.CoordinationV1().Leases("sdn-tunnel").Delete(ctx, Name, metav1.DeleteOptions{})
}

// take takes a lock away from its holder.
func take(ctx context.Context, c *fake.Clientset) error {
	if err := unlock(ctx, c); err != nil {
		return err
	}
	theirs := lease(bob, time.Minute)
	theirs.UID = "theirs"
	_, err := c.CoordinationV1().Leases("sdn-tunnel").Create(ctx, theirs, metav1.CreateOptions{})
	return err
}

// TestLost: what a holder is told once its lock is not its own any more.
func TestLost(t *testing.T) {
	emptied := func(ctx context.Context, c *fake.Clientset) error {
		return errors.Join(unlock(ctx, c), c.CoreV1().Namespaces().Delete(ctx, "sdn-tunnel", metav1.DeleteOptions{}))
	}
	for name, tt := range map[string]struct {
		verb string
		do   func(context.Context, *fake.Clientset) error
		want string // empty: it is not lost
	}{
		"taken over":                    {"deploy", take, "cluster east: the lock of this run is lost: teardown of bob@laptop has it now"},
		"taken from a teardown":         {Teardown, take, "teardown of bob@laptop has it now"},
		"removed":                       {"deploy", unlock, "somebody removed it, and nobody has it now"},
		"removed, of a teardown":        {Teardown, unlock, "somebody removed it"},
		"the namespace is gone":         {"deploy", emptied, "somebody removed it"},
		"the teardown has removed both": {Teardown, emptied, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := fakeCluster()
			lock, err := Acquire(t.Context(), c, "east", "sdn-tunnel", Holder{Owner: "alice@desk", Verb: tt.verb}, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(lock.Renew(t.Context()), lock.Lost()); err != nil {
				t.Fatalf("nobody touched it: %v", err)
			}
			if err := tt.do(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			err = lock.Renew(t.Context())
			if tt.want == "" {
				if err := errors.Join(err, lock.Lost()); err != nil {
					t.Error(err)
				}
				return
			}
			for _, err := range []error{err, lock.Lost(), lock.Renew(t.Context())} {
				if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "run this again") {
					t.Errorf("%v; want %q", err, tt.want)
				}
			}
		})
	}
}

// TestNotRenewed: a lock that was not renewed in time is not relied on, though nobody is
// known to have it, until it is renewed after all.
func TestNotRenewed(t *testing.T) {
	c := fakeCluster()
	lock, err := Acquire(t.Context(), c, "east", "sdn-tunnel", alice, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	away := true
	c.PrependReactor("*", "leases", func(clienttest.Action) (bool, runtime.Object, error) {
		return away, nil, errors.New("connection refused")
	})
	locks := Locks{lock, nil}
	lock.renewed = uptime.Now() - 50*time.Second
	lock.asked = lock.renewed
	if err := locks.Tend(t.Context()); err != nil {
		t.Errorf("there is some time left: %v", err)
	}
	lock.renewed = uptime.Now() - 56*time.Second // less than its duration: requests may be under way
	for _, want := range []string{"cluster east: ", "was not renewed for 56s", "connection refused", "once the API answers, run this again"} {
		if err := locks.Lost(); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	away, lock.asked = false, 0
	if err := locks.Tend(t.Context()); err != nil {
		t.Errorf("renewed after all: %v", err)
	}
	if until, ok := locks.Until(); !ok || until < uptime.Now()+50*time.Second || until > uptime.Now()+time.Minute {
		t.Errorf("until %v, %v; it is %v", until, ok, uptime.Now())
	}
	if _, ok := (Locks{nil}).Until(); ok {
		t.Error("no lock, and a time for it")
	}
}

// TestHolderIsStopped: what is done under a lock ends with it, and is told why.
func TestHolderIsStopped(t *testing.T) {
	c := fakeCluster()
	held, release, err := hold(t.Context(), []Place{{"east", "sdn-tunnel", c}}, alice, 8*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-held.Done():
		t.Fatalf("nobody took it: %v", context.Cause(held))
	case <-time.After(6500 * time.Millisecond): // longer than it lasts without a renewal
	}
	if err := take(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	select {
	case <-held.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on beside bob's")
	}
	if err := release(); !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "teardown of bob@laptop has it now") {
		t.Errorf("released: %v", err)
	}
}
