package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// What is taken from one member, at most.
const (
	// maxNodes is how many nodes a member may have: what it says cannot fill this
	// cluster's etcd, nor the controller's memory.
	maxNodes = 5000
	// maxNode is the size of one node as kept in memory, in bytes of JSON. The CRD's
	// own limits, 16 subnets and 16 addresses, come to less than half.
	maxNode = 8 << 10
	// maxName is the longest name that an API object may have.
	maxName = 253
	// pageSize is the number of nodes asked for at once; a member that gives fewer
	// than a tenth of it at a time has too many pages.
	pageSize = 500
	maxPages = 10 * maxNodes / pageSize
	// listTimeout bounds a whole list.
	listTimeout = 2 * time.Minute
)

// annotationRefused is put on a node in memory in place of what is too large to keep.
const annotationRefused = "sdntunnel.io/refused"

// listWatch asks only for what the member's controller has labelled as its own nodes,
// and takes no more than a member can sensibly have.
func (r *remote) listWatch() cache.ListerWatcher {
	return peeraccess.PlainLists{ListWatch: &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			list, err := r.list(ctx)
			r.watched(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := r.reader.Watch(ctx, &v1alpha1.TunnelNodeList{}, r.options(o))
			r.watched(ctx, err)
			if err != nil {
				return nil, err
			}
			return peeraccess.PlainWatch(w, func(e watch.Event) (watch.Event, bool) { return r.admit(ctx, e) }), nil
		},
	}}
}

func (r *remote) options(o metav1.ListOptions) *client.ListOptions {
	return &client.ListOptions{Raw: &o, Limit: o.Limit, Continue: o.Continue, LabelSelector: labels.SelectorFromSet(labels.Set{v1alpha1.LabelCluster: r.cluster})}
}

// list reads all nodes.
func (r *remote) list(ctx context.Context) (*v1alpha1.TunnelNodeList, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	all := &v1alpha1.TunnelNodeList{}
	version, err := peeraccess.ListPages("cluster "+r.cluster+": the list of its nodes", pageSize, maxPages, func(next metav1.ListOptions) (metav1.ListInterface, error) {
		var page v1alpha1.TunnelNodeList
		if err := r.reader.List(ctx, &page, r.options(next)); err != nil {
			return nil, err
		}
		if len(all.Items)+len(page.Items) > maxNodes {
			return nil, fmt.Errorf("cluster %s lists more than %d nodes: none of them is taken over", r.cluster, maxNodes)
		}
		for i := range page.Items {
			if slim(&page.Items[i]) {
				all.Items = append(all.Items, page.Items[i])
			}
		}
		return &page, nil
	})
	if err != nil {
		return nil, err
	}
	all.ResourceVersion = version
	r.listed(all)
	return all, nil
}

func (r *remote) listed(all *v1alpha1.TunnelNodeList) {
	known := make(map[string]bool, len(all.Items))
	for i := range all.Items {
		known[all.Items[i].Name] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = known
}

// admit passes an event of the watch on if it is one that a member may send.
func (r *remote) admit(ctx context.Context, e watch.Event) (watch.Event, bool) {
	switch n := e.Object.(type) {
	case *metav1.Status:
		err := apierrors.FromObject(n)
		if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) && !closed(n) {
			r.brokeOff(ctx, fmt.Errorf("the watch of cluster %s broke off: %s", r.cluster, n.Message))
		}
		return e, true
	case *v1alpha1.TunnelNode:
		if e.Type == watch.Bookmark {
			return e, true
		}
		if !slim(n) {
			return e, false
		}
		if r.counted(n.Name, e.Type != watch.Deleted) {
			return e, true
		}
		err := fmt.Errorf("cluster %s speaks of more than %d nodes: the watch is broken off", r.cluster, maxNodes)
		r.brokeOff(ctx, err)
		return watch.Event{Type: watch.Error, Object: &apierrors.NewInternalError(err).ErrStatus}, true
	}
	return e, false
}

// closed tells whether it is our own client that speaks, of a connection that ended or of
// a watch that we stopped ourselves. Nothing is wrong with what the member sent, and
// probes tell whether it answers.
func closed(s *metav1.Status) bool {
	return strings.Contains(s.Message, "unable to decode an event from the watch stream: http2: ")
}

// counted notes that a node is there, or is not any more, and tells whether there is
// room for it.
func (r *remote) counted(name string, there bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !there:
		delete(r.known, name)
	case len(r.known) >= maxNodes && !r.known[name]:
		return false
	case r.known == nil:
		r.known = map[string]bool{name: true}
	default:
		r.known[name] = true
	}
	return true
}

func (r *remote) brokeOff(ctx context.Context, err error) {
	if ctx.Err() == nil {
		r.set(func(h *health) { h.brokenErr, h.brokenAt = err, time.Now() })
	}
}

// slim drops what another member may write at will and nobody here reads, and tells
// whether the node can be kept at all. Of one that is too large, only its name is.
func slim(n *v1alpha1.TunnelNode) bool {
	if len(n.Name) > maxName {
		return false
	}
	n.ObjectMeta = metav1.ObjectMeta{Name: n.Name, UID: n.UID, Generation: n.Generation, ResourceVersion: n.ResourceVersion}
	ready := meta.FindStatusCondition(n.Status.Conditions, v1alpha1.ConditionReady)
	if n.Status = (v1alpha1.TunnelNodeStatus{}); ready != nil {
		n.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: plainStatus(ready.Status),
			Reason: peeraccess.PlainReason(ready.Reason), Message: peeraccess.Plain(ready.Message), LastTransitionTime: ready.LastTransitionTime}}
	}
	raw, err := json.Marshal(n)
	if err != nil || len(raw) > maxNode {
		*n = v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Generation: n.Generation, ResourceVersion: peeraccess.Plain(n.ResourceVersion),
			Annotations: map[string]string{annotationRefused: fmt.Sprintf("its TunnelNode has more than %d KiB", maxNode>>10)}}}
	}
	return true
}

func plainStatus(s metav1.ConditionStatus) metav1.ConditionStatus {
	if s != metav1.ConditionTrue && s != metav1.ConditionFalse {
		return metav1.ConditionUnknown
	}
	return s
}
