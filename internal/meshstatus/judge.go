package meshstatus

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// Objects are what one cluster's API has.
type Objects struct {
	Cluster     string
	Links       []*v1alpha1.LinkedCluster
	Nodes       []*v1alpha1.TunnelNode // the cluster's own
	Mirrors     []*v1alpha1.TunnelNode // those it has of other members, as far as they were read
	DaemonSets  []*appsv1.DaemonSet
	Deployments []*appsv1.Deployment
	Pods        []*corev1.Pod
	Events      []*corev1.Event
	// Err is why it could not be read.
	Err error
}

// The component label of what a deploy makes, and its values.
const (
	labelComponent      = "app.kubernetes.io/component"
	componentAgent      = "agent"
	componentController = "controller"
	componentDNS        = "dns"
)

// Make judges all clusters.
func Make(now time.Time, all []Objects) Report {
	r := Report{Time: now.UTC().Truncate(time.Second), Clusters: make([]Cluster, 0, len(all))}
	for _, o := range all {
		r.Clusters = append(r.Clusters, Judge(now, o))
	}
	return r
}

// Judge says how a cluster fares at a moment.
func Judge(now time.Time, o Objects) Cluster {
	j := judge{now: now, objects: o, cluster: Cluster{Name: o.Cluster, Nodes: []Node{}, Links: []Link{}, Problems: []Problem{}}}
	c := &j.cluster
	if o.Err != nil {
		c.Error = o.Err.Error()
	}
	if len(o.Links)+len(o.Nodes)+len(o.DaemonSets)+len(o.Deployments) == 0 {
		if c.Health = Unknown; o.Err == nil {
			j.problem("Cluster "+o.Cluster, "sdn-tunnel is not deployed there: run the deploy", nil)
			c.Health = Down
		}
		return *c
	}
	j.workloads()
	j.links()
	j.nodes()
	j.peers()
	j.notes()
	c.Events = latest(now, o)
	switch {
	case o.Err != nil:
		c.Health = Unknown
	case len(c.Problems) > 0:
		c.Health = Degraded
	default:
		c.Health = Well
	}
	return *c
}

// judge is one judgement under way.
type judge struct {
	now     time.Time
	objects Objects
	cluster Cluster
}

func (j *judge) problem(object, message string, since *metav1.Time) {
	j.cluster.Problems = append(j.cluster.Problems, Problem{Object: object, Message: message, Since: since})
}

// conditions names those that are not True.
func (j *judge) conditions(object string, conditions []metav1.Condition) (bad bool) {
	for _, c := range conditions {
		if c.Status == metav1.ConditionTrue || c.Type == v1alpha1.ConditionPeersUp { // peers are judged one by one
			continue
		}
		bad = true
		since := c.LastTransitionTime
		j.problem(object, fmt.Sprintf("%s is %s: %s: %s", c.Type, c.Status, c.Reason, c.Message), &since)
	}
	return bad
}

// links judges the members as they are seen from here.
func (j *judge) links() {
	pairs := map[string]*Link{}
	for _, n := range j.objects.Nodes {
		if n.Status.Peers == nil {
			continue
		}
		for _, p := range n.Status.Peers.Clusters {
			l := pairs[p.Cluster]
			if l == nil {
				l = &Link{}
				pairs[p.Cluster] = l
			}
			l.Up, l.Stale, l.Never = l.Up+p.Up, l.Stale+p.Stale, l.Never+p.Never
		}
	}
	self := false
	slices.SortFunc(j.objects.Links, func(a, b *v1alpha1.LinkedCluster) int { return cmp.Compare(a.Name, b.Name) })
	for _, lc := range j.objects.Links {
		object := "LinkedCluster " + lc.Name
		bad := j.conditions(object, lc.Status.Conditions)
		if lc.Name == j.objects.Cluster {
			self = true
			continue
		}
		l := Link{To: lc.Name, Nodes: lc.Status.Nodes, Services: lc.Status.Services, Refused: lc.Status.Refused, Access: lc.Status.Access}
		if p := pairs[lc.Name]; p != nil {
			l.Up, l.Stale, l.Never = p.Up, p.Stale, p.Never
		}
		l.Path = pathTo(lc.Name, j.objects.Nodes)
		l.StaleSince, l.StaleReason = staleSince(lc.Status.Conditions)
		if len(lc.Status.Conditions) == 0 {
			j.problem(object, "the controller has said nothing of it yet", nil)
			bad = true
		}
		bad = j.access(object, l.Access) || bad
		l.Health = l.judge(bad)
		j.cluster.Links = append(j.cluster.Links, l)
	}
	if !self {
		j.problem("LinkedCluster "+j.objects.Cluster, "the cluster has none of itself: run the deploy", nil)
	}
}

// judge is the health of a link; bad: what is known of the member is not in order.
func (l Link) judge(bad bool) Health {
	down := l.Stale + l.Never
	switch {
	case down > 0 && l.Up == 0:
		return Down
	case bad || down > 0 || l.Path != nil && l.Path.LossyPairs > 0:
		return Degraded
	}
	return Well
}

// staleSince is when the first condition that says how new the mirrors are turned.
func staleSince(conditions []metav1.Condition) (since *metav1.Time, reason string) {
	for _, c := range conditions {
		switch c.Type {
		case v1alpha1.ConditionReachable, v1alpha1.ConditionInSync, v1alpha1.ConditionServicesSynced:
		default:
			continue
		}
		if c.Status != metav1.ConditionTrue && (since == nil || c.LastTransitionTime.Before(since)) {
			at := c.LastTransitionTime
			since, reason = &at, c.Reason
		}
	}
	return since, reason
}

// access judges the token by which a member is read. It is renewed at half its life.
func (j *judge) access(object string, a *v1alpha1.AccessLife) bool {
	if a == nil {
		return false
	}
	life := a.Expires.Sub(a.Issued.Time)
	switch {
	case !j.now.Before(a.Expires.Time):
		j.problem(object, "this cluster's access to it has expired: run the deploy again", &a.Expires)
	case j.now.Sub(a.Issued.Time) > life*3/4:
		j.problem(object, fmt.Sprintf("this cluster's access to it ends in %s and should have been renewed at half its life: the controller's log says why it was not; a deploy renews it, too",
			age(a.Expires.Sub(j.now))), nil)
	default:
		return false
	}
	return true
}

// peers names the peers that are not up, each once, with the nodes that miss it.
func (j *judge) peers() {
	missing, last := map[string][]string{}, map[string]*metav1.Time{}
	unnamed := int32(0)
	for _, n := range j.cluster.Nodes {
		if n.Peers == nil {
			continue
		}
		for _, p := range n.Peers.NotUp {
			missing[p.Name] = append(missing[p.Name], n.Node)
			if p.LastHandshake != nil && (last[p.Name] == nil || last[p.Name].Before(p.LastHandshake)) {
				last[p.Name] = p.LastHandshake
			}
		}
		unnamed += n.Peers.Stale + n.Peers.Never - int32(len(n.Peers.NotUp))
	}
	for _, peer := range slices.Sorted(maps.Keys(missing)) {
		when := "no handshake yet"
		if last[peer] != nil {
			when = "the last handshake was " + age(j.now.Sub(last[peer].Time)) + " ago"
		}
		j.problem("Peer "+peer, fmt.Sprintf("not up on %d of %d nodes (%s): %s", len(missing[peer]), len(j.cluster.Nodes), few(missing[peer]), when), last[peer])
	}
	if unnamed > 0 {
		j.problem("Peers", fmt.Sprintf("%d more pairs of nodes are not up", unnamed), nil)
	}
	j.losses()
}

// fewNames is how many names a line spells out.
const fewNames = 5

func few(names []string) string {
	if len(names) <= fewNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:fewNames], ", "), len(names)-fewNames)
}
