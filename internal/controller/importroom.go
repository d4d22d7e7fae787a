package controller

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
)

// byOwnCluster are all that are refused: there may be more room now.
func (r *imports) byOwnCluster(_ context.Context, o client.Object) (all []reconcile.Request) {
	if o.GetName() != r.cluster {
		return nil
	}
	for _, id := range r.shares.waiting() {
		all = append(all, importRequest(id.Namespace, id.Name)...)
	}
	return all
}

// room tells whether there is an address for a planned import. What the own cluster exports
// takes nobody's share: who may export there may make Services as well.
func (r *imports) room(ctx context.Context, id clusterset.ID, p importPlan) (bool, error) {
	if p.own || p.made.Type != mcsv1alpha1.ClusterSetIP {
		r.leave(id)
		return true, nil
	}
	var lc v1alpha1.LinkedCluster
	if err := r.Get(ctx, client.ObjectKey{Name: r.cluster}, &lc); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read LinkedCluster %s: %w", r.cluster, err)
	}
	if err := r.remember(ctx, roomOf(&lc)); err != nil {
		return false, err
	}
	var s corev1.Service
	err := r.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: id.DerivedName()}, &s)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("read the Service of import %s: %w", id, err)
	}
	ok, changed := r.shares.take(id, p.exports, err == nil, roomOf(&lc))
	if changed {
		r.status.soon(statusKey, serviceStatusDelay)
	}
	return ok, nil
}

// leave gives the share of an import back, and has others tried.
func (r *imports) leave(id clusterset.ID) {
	next, changed := r.shares.leave(id)
	for _, one := range next {
		r.queue.add(importRequest(one.Namespace, one.Name)[0], priorityqueue.AddOpts{})
	}
	if changed {
		r.status.soon(statusKey, serviceStatusDelay)
	}
}

// remember counts, once, the imports that have addresses already, before there are new ones.
func (r *imports) remember(ctx context.Context, room room) error {
	r.remembering.Lock()
	defer r.remembering.Unlock()
	if r.remembered {
		return nil
	}
	var all corev1.ServiceList
	if err := r.List(ctx, &all, client.InNamespace(r.namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the Services of imports: %w", err)
	}
	for i := range all.Items {
		id, ours := importOf(&all.Items[i], r.namespace)
		if !ours {
			continue
		}
		facts, err := r.facts(ctx, id)
		if err != nil {
			return fmt.Errorf("import %s: %w", id, err)
		}
		// One whose mirrors say nothing to go by is judged when its turn comes, and stays.
		if p, err := planImport(id, facts, r.cluster, r.namespace); err == nil && p.wanted && !p.own && p.made.Type == mcsv1alpha1.ClusterSetIP {
			r.shares.take(id, p.exports, true, room)
		}
	}
	r.remembered = true
	return nil
}
