package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/deploylock"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

// TestAlone: what is done under the locks ends once one is taken away, and says whose it is by
// then, and what it leaves.
func TestAlone(t *testing.T) {
	s := apitest.Start(t)
	c := s.Clientset(t)
	s.Namespaces(t, "sdn-tunnel")
	members := []member{{name: "east", access: &kubeaccess.Access{Config: s.Config}}}
	err := alone(t.Context(), members, "sdn-tunnel", "rotate credentials", func(ctx context.Context) error {
		if err := c.CoordinationV1().Leases("sdn-tunnel").Delete(ctx, deploylock.Name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		bob := deploylock.Holder{Owner: "bob@laptop", Verb: "deploy"}
		if _, err := deploylock.Acquire(ctx, c, "east", "sdn-tunnel", bob, time.Minute); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: half of it is done", ctx.Err())
		case <-time.After(20 * time.Second):
			return errors.New("it goes on beside bob's")
		}
	})
	if !errors.Is(err, deploylock.ErrLost) {
		t.Fatal(err)
	}
	for _, want := range []string{"cluster east: ", "deploy of bob@laptop has it now", "run this again", "half of it is done"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if err := alone(t.Context(), members, "sdn-tunnel", "rotate credentials", func(context.Context) error { return nil }); err == nil || !strings.Contains(err.Error(), "is under way") {
		t.Errorf("bob's lock is gone: %v", err)
	}
}
