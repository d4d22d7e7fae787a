package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// access is what one cluster reads another with.
type access struct{ from, to Member }

func (a access) String() string {
	return fmt.Sprintf("the access of %s to %s", a.to.Cluster, a.from.Cluster)
}

// Credentials gives the clusters new tokens for each other and voids all former ones. With
// Options.Cluster only those of and for that one.
//
// The rights go first, for all of them at once, and with them what former tokens may do. An
// API server takes a token that it has seen of late for valid without looking, so new rights
// are given only when no server does any more; meanwhile the clusters go on with what they
// know of each other. Nothing is taken away while a cluster does not answer. Where it is
// given anew one that fails does not keep it from the rest.
func Credentials(ctx context.Context, o Options) error {
	if o.Cluster != "" && o.side(o.Cluster) == nil {
		return fmt.Errorf("the inventory has no cluster %q", o.Cluster)
	}
	all := o.accesses()
	for _, a := range all {
		if err := o.ready(ctx, a); err != nil {
			return fmt.Errorf("%s: %w: nothing was changed", a, err)
		}
	}
	began := time.Now()
	errs := make([]error, len(all))
	for i, a := range all {
		_, errs[i] = peeraccess.Revoke(ctx, a.from.Side, a.to.Cluster, peeraccess.Options{})
	}
	o.Say("former tokens are refused from now on; new ones come in %.0f s, when no API server remembers those", peeraccess.Remembered.Seconds())
	if err := sleep(ctx, peeraccess.Remembered-time.Since(began)); err != nil {
		return fmt.Errorf("%w: the clusters do not read each other until this, or a deploy, is run again; traffic goes on", err)
	}
	var wait sync.WaitGroup
	for _, from := range o.Members {
		wait.Go(func() { // one after the other: what one cluster gives shares a ClusterRole
			for i, a := range all {
				if a.from.Cluster != from.Cluster {
					continue
				}
				if err := errors.Join(errs[i], o.give(ctx, a)); err != nil {
					errs[i] = fmt.Errorf("%s: %w", a, err)
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// accesses are those that are meant.
func (o *Options) accesses() (all []access) {
	for _, from := range o.Members {
		for _, to := range o.Members {
			if from.Cluster != to.Cluster && (o.Cluster == "" || o.Cluster == from.Cluster || o.Cluster == to.Cluster) {
				all = append(all, access{from, to})
			}
		}
	}
	return all
}

// ready tells why an access cannot be replaced now, or nil.
func (o *Options) ready(ctx context.Context, a access) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	for _, look := range []struct {
		in, at Member
	}{{a.from, a.to}, {a.to, a.from}} {
		var lc v1alpha1.LinkedCluster
		if err := look.in.Client.Get(ctx, client.ObjectKey{Name: look.at.Cluster}, &lc); err != nil {
			return fmt.Errorf("cluster %s: read LinkedCluster %s: %w", look.in.Cluster, look.at.Cluster, err)
		}
	}
	return nil
}

// give makes a new access, and waits until the controller that uses it does.
func (o *Options) give(ctx context.Context, a access) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	began := time.Now()
	if _, err := peeraccess.Ensure(ctx, a.from.Side, a.to.Side, peeraccess.Options{}); err != nil {
		return err
	}
	var secret corev1.Secret
	if err := a.to.Client.Get(ctx, client.ObjectKey{Namespace: a.to.Namespace, Name: peeraccess.Name(a.from.Cluster)}, &secret); err != nil {
		return fmt.Errorf("read the new one: %w", err)
	}
	_, token, err := peeraccess.RestConfig(&secret)
	if err != nil {
		return err
	}
	last := ""
	err = until(ctx, func() (bool, error) {
		var lc v1alpha1.LinkedCluster
		if err := a.to.Client.Get(ctx, client.ObjectKey{Name: a.from.Cluster}, &lc); err != nil {
			return false, fmt.Errorf("read LinkedCluster %s: %w", a.from.Cluster, err)
		}
		if lc.Status.Access == nil || !lc.Status.Access.Expires.Time.Equal(token.Expiry) {
			last = "is it running?"
			return false, nil
		}
		c := meta.FindStatusCondition(lc.Status.Conditions, v1alpha1.ConditionReachable)
		if c != nil {
			last = c.Message
		}
		return c != nil && c.Reason == "Answers", nil
	})
	if err != nil {
		return fmt.Errorf("the controller of %s does not use the new one yet (%s): %w", a.to.Cluster, strings.TrimSpace(last), err)
	}
	o.Say("%s reads %s with a new token until %s, after %.1f s; the former ones are void", a.to.Cluster, a.from.Cluster,
		token.Expiry.UTC().Format(time.DateTime+" MST"), time.Since(began).Seconds())
	return nil
}

// sleep waits; it fails if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
