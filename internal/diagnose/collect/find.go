package collect

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// ErrUsage says that what is asked for is not understood.
var ErrUsage = errors.New("want CLUSTER/NAMESPACE/NAME")

// object is a thing by its name on the command line.
type object struct{ cluster, namespace, name string }

func parse(s string) (object, error) {
	part := strings.Split(s, "/")
	if len(part) != 3 || slices.Contains(part, "") {
		return object{}, fmt.Errorf("%q: %w, as in east/shop/web-0", s, ErrUsage)
	}
	return object{part[0], part[1], part[2]}, nil
}

func (r *reading) member(name string) (*member, error) {
	m := r.members[name]
	if m == nil {
		return nil, fmt.Errorf("cluster %q is not in the inventory: %w", name, ErrUsage)
	}
	if m.found.Error != "" {
		return nil, fmt.Errorf("cluster %s: its API cannot be read: %s", name, m.found.Error)
	}
	return m, nil
}

// pod finds a pod by name.
func (r *reading) pod(ctx context.Context, o object) (*diagnose.Pod, error) {
	m, err := r.member(o.cluster)
	if err != nil {
		return nil, err
	}
	p, err := m.client.CoreV1().Pods(o.namespace).Get(ctx, o.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &diagnose.Pod{Cluster: o.cluster, Namespace: o.namespace, Name: o.name, Missing: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the pod %s in cluster %s: %w", o.name, o.cluster, err)
	}
	return m.made(ctx, p)
}

// podAt finds the pod that has an address; nil if there is none.
func (r *reading) podAt(ctx context.Context, a netip.Addr) (*diagnose.Pod, error) {
	for _, m := range r.members {
		if m.found.Error != "" {
			continue
		}
		list, err := m.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("status.podIP", a.String()).String()})
		if err != nil {
			return nil, fmt.Errorf("look for the pod with address %v in cluster %s: %w", a, m.name, err)
		}
		for i := range list.Items {
			if p := &list.Items[i]; !p.Spec.HostNetwork && p.Status.Phase == corev1.PodRunning {
				return m.made(ctx, p)
			}
		}
	}
	return nil, nil
}

// made takes of a pod, and of what there is about it, what a diagnosis needs.
func (c *member) made(ctx context.Context, p *corev1.Pod) (*diagnose.Pod, error) {
	made := &diagnose.Pod{Cluster: c.name, Namespace: p.Namespace, Name: p.Name, Node: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork, Phase: p.Status.Phase}
	made.Address, _ = netip.ParseAddr(p.Status.PodIP)
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "" {
			made.Trouble = strings.TrimSpace(w.Reason + " " + w.Message)
			break
		}
	}
	for _, s := range p.Status.Conditions {
		if s.Type == corev1.PodReady {
			made.Ready = s.Status == corev1.ConditionTrue
		}
		if s.Status != corev1.ConditionTrue && made.Trouble == "" {
			made.Trouble = s.Message
		}
	}
	if p.DeletionTimestamp != nil && made.Phase == corev1.PodRunning {
		made.Trouble = "it is being deleted"
	}
	policies, err := c.client.NetworkingV1().NetworkPolicies(p.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the network policies of %s in cluster %s: %w", p.Namespace, c.name, err)
	}
	made.Policies = selecting(policies.Items, p.Labels)
	ns, err := c.dynamic.Resource(netNamespaces).Get(ctx, p.Namespace, metav1.GetOptions{})
	if err == nil {
		if id, ok, _ := unstructured.NestedInt64(ns.Object, "netid"); ok {
			made.NetID = new(uint32(id))
		}
	}
	return made, nil
}

func selecting(all []networkingv1.NetworkPolicy, of map[string]string) (found []networkingv1.NetworkPolicy) {
	for _, np := range all {
		s, err := metav1.LabelSelectorAsSelector(&np.Spec.PodSelector)
		if err == nil && s.Matches(labels.Set(of)) {
			found = append(found, np)
		}
	}
	return found
}

// service finds a service by name, with what the source's cluster knows of it.
func (r *reading) service(ctx context.Context, o object, home string) (*diagnose.Service, error) {
	m, err := r.member(o.cluster)
	if err != nil {
		return nil, err
	}
	s := &diagnose.Service{Cluster: o.cluster, Namespace: o.namespace, Name: o.name}
	s.Object, err = m.client.CoreV1().Services(o.namespace).Get(ctx, o.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		s.Missing, s.Object = true, nil
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the service %s in cluster %s: %w", o.name, o.cluster, err)
	}
	slices, err := m.client.DiscoveryV1().EndpointSlices(o.namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + o.name})
	if err != nil {
		return nil, fmt.Errorf("list the endpoints of %s in cluster %s: %w", o.name, o.cluster, err)
	}
	s.Slices = slices.Items
	if _, err := m.dynamic.Resource(serviceExports).Namespace(o.namespace).Get(ctx, o.name, metav1.GetOptions{}); err == nil {
		s.Exported = true
	}
	at, err := r.member(home)
	if err != nil || home == o.cluster {
		return s, err
	}
	mirrors, err := at.client.DiscoveryV1().EndpointSlices(at.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{
		v1alpha1.LabelCluster: o.cluster, remoteservice.LabelNamespace: o.namespace, remoteservice.LabelName: o.name}.String()})
	if err != nil {
		return nil, fmt.Errorf("list the mirrors of %s in cluster %s: %w", o.name, home, err)
	}
	s.Mirrors = mirrors.Items
	return s, nil
}

// behind finds the pod behind a service that is looked at: the one with a host name, or the
// first one that is ready. It also gives the pod's port that the service's leads to.
func (r *reading) behind(ctx context.Context, s *diagnose.Service, protocol string, port uint16, host string) (*diagnose.Pod, uint16, error) {
	m := r.members[s.Cluster]
	for _, slice := range s.Slices {
		for _, e := range slice.Endpoints {
			if e.TargetRef == nil || e.TargetRef.Kind != "Pod" || !leadsTo(e, host) {
				continue
			}
			p, err := m.client.CoreV1().Pods(s.Namespace).Get(ctx, e.TargetRef.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, 0, fmt.Errorf("read the pod %s in cluster %s: %w", e.TargetRef.Name, s.Cluster, err)
			}
			made, err := m.made(ctx, p)
			return made, podPort(s.Object, slice, protocol, port), err
		}
	}
	if host != "" {
		return &diagnose.Pod{Cluster: s.Cluster, Namespace: s.Namespace, Name: host, Missing: true}, 0, nil
	}
	return nil, 0, nil
}

// leadsTo tells whether an endpoint has a host name, as name servers give them: its own, else
// its address with dashes. Without a host name it has to be ready.
func leadsTo(e discoveryv1.Endpoint, host string) bool {
	own := ptr.Deref(e.Hostname, "")
	switch {
	case host == "":
		return ptr.Deref(e.Conditions.Ready, true)
	case own != "":
		return own == host
	}
	return slices.ContainsFunc(e.Addresses, func(a string) bool {
		return strings.NewReplacer(".", "-", ":", "-").Replace(a) == host
	})
}

// podPort is the port of a slice's pods that a port of the service leads to, by its name; 0
// if there is none.
func podPort(s *corev1.Service, slice discoveryv1.EndpointSlice, protocol string, port uint16) uint16 {
	for _, p := range s.Spec.Ports {
		if p.Port != int32(port) || !strings.EqualFold(string(p.Protocol), protocol) {
			continue
		}
		for _, at := range slice.Ports {
			if ptr.Deref(at.Name, "") == p.Name && ptr.Deref(at.Protocol, corev1.ProtocolTCP) == p.Protocol {
				return uint16(ptr.Deref(at.Port, 0))
			}
		}
	}
	return 0
}

// place is what a name means: a service, which the zone is of, or all members have.
type place struct {
	object
	zone string
	// host is the own name of one of the service's pods.
	host string
	// shared: any member may have the service, and none is named.
	shared bool
}

// zone finds the member whose zone a name is in, and its service. In the zone that every
// cluster has for itself it is own.
func (r *reading) zone(name, own string) place {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	zones := map[string]string{diagnose.ClusterSetZone: "", diagnose.OwnZone: own}
	for _, m := range r.members {
		for _, lc := range m.found.Links {
			zones[diagnose.ZoneOf(lc)] = lc.Name
		}
	}
	in := ""
	for z := range zones {
		if strings.HasSuffix(name, "."+z) && len(z) > len(in) {
			in = z
		}
	}
	if in == "" {
		return place{}
	}
	return inZone(strings.TrimSuffix(name, "."+in), in, zones[in])
}

// inZone takes the words of a name before its zone apart: the service, and before it the host
// name of a pod, in the zone of all members with the cluster that it is in.
func inZone(rest, zone, cluster string) place {
	at := place{zone: zone, shared: cluster == ""}
	words := strings.Split(rest, ".")
	n := len(words) - 3
	if n < 0 || words[n+2] != "svc" {
		return at
	}
	at.object = object{cluster, words[n+1], words[n]}
	of := words[:n]
	if n > 0 && strings.HasPrefix(of[0], "_") { // a port of the service, as in _http._tcp
		return at
	}
	if n == 2 && at.shared {
		at.cluster, at.shared, of = of[1], false, of[:1]
	}
	at.host = strings.Join(of, ".")
	return at
}

// held finds the service at a place. Of those that members share it is another one's than the
// source's, if there is one that is exported.
func (r *reading) held(ctx context.Context, at place, home string) (*diagnose.Service, error) {
	if !at.shared {
		return r.service(ctx, at.object, home)
	}
	var best *diagnose.Service
	var away error // what keeps a service from being seen
	for _, name := range append(slices.DeleteFunc(slices.Clone(r.names), func(n string) bool { return n == home }), home) {
		if _, err := r.member(name); err != nil {
			away = err
			continue
		}
		s, err := r.service(ctx, object{name, at.namespace, at.name}, home)
		if err != nil {
			return nil, err
		}
		if best == nil || !s.Missing && (best.Missing || s.Exported && !best.Exported) {
			best = s
		}
	}
	if away != nil && (best == nil || best.Missing) {
		return nil, fmt.Errorf("look for the service %s/%s of all members: %w", at.namespace, at.name, away)
	}
	return best, nil
}
