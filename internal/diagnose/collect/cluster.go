package collect

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/dnsforward"
	"github.com/sdn-tunnel/sdn-tunnel/internal/dnsplan"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

const labelComponent = "app.kubernetes.io/component"

var (
	hostSubnets     = schema.GroupVersionResource{Group: "network.openshift.io", Version: "v1", Resource: "hostsubnets"}
	clusterNetworks = schema.GroupVersionResource{Group: "network.openshift.io", Version: "v1", Resource: "clusternetworks"}
	netNamespaces   = schema.GroupVersionResource{Group: "network.openshift.io", Version: "v1", Resource: "netnamespaces"}
	serviceExports  = schema.GroupVersionResource{Group: "multicluster.x-k8s.io", Version: "v1alpha1", Resource: "serviceexports"}
	dnses           = schema.GroupVersionResource{Group: "operator.openshift.io", Version: "v1", Resource: "dnses"}
)

// member is one cluster's API.
type member struct {
	name, namespace string
	config          *rest.Config
	client          kubernetes.Interface
	dynamic         dynamic.Interface
	found           *diagnose.Cluster
}

// read opens a cluster and reads what every diagnosis needs.
func read(ctx context.Context, m meshstatus.Member, o Options) *member {
	c := &member{name: m.Name, namespace: o.Namespace, found: o.empty(m.Name)}
	if err := c.open(ctx, m); err != nil {
		c.found.Error = err.Error()
		return c
	}
	group, ctx := errgroup.WithContext(ctx)
	for what, part := range map[string]func(context.Context) error{
		"what sdn-tunnel has there": c.state, "services of sdn-tunnel": c.services,
		"the SDN's networks": c.networks, "the cluster's DNS": c.forward,
	} {
		group.Go(func() error {
			if err := part(ctx); err != nil {
				return fmt.Errorf("read %s: %w", what, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		c.found = o.empty(m.Name)
		c.found.Error = err.Error()
	}
	return c
}

// empty is a cluster of which nothing is read yet.
func (o Options) empty(name string) *diagnose.Cluster {
	return &diagnose.Cluster{
		Name: name, Kubectl: cmp.Or(o.Kubectl[name], "kubectl --context "+name), Namespace: o.Namespace,
		Links: map[string]*v1alpha1.LinkedCluster{}, Nodes: map[mesh.Ref]*v1alpha1.TunnelNode{},
		Agents: map[string]*corev1.Pod{}, HostSubnets: map[string]netip.Prefix{}, NodeServices: map[string]diagnose.NodeService{},
		Controller: diagnose.Workload{Wanted: -1}, DNS: diagnose.Workload{Wanted: -1},
	}
}

func (c *member) open(ctx context.Context, m meshstatus.Member) (err error) {
	if c.config, err = m.Open(ctx); err != nil {
		return err
	}
	c.config = rest.CopyConfig(c.config)
	c.config.QPS, c.config.Burst = 100, 200
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return err
	}
	c.dynamic, err = dynamic.NewForConfig(c.config)
	return err
}

// list reads all objects of a kind, page by page; of a kind that the server has not, none.
func (c *member) list(ctx context.Context, r schema.GroupVersionResource, each func(*unstructured.Unstructured) error) error {
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		return c.dynamic.Resource(r).List(ctx, o)
	})
	err := pages.EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error { return each(o.(*unstructured.Unstructured)) })
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// state reads what sdn-tunnel has there.
func (c *member) state(ctx context.Context) error {
	o, err := meshstatus.State(ctx, c.config, c.name, c.namespace)
	if err != nil {
		return err
	}
	for _, lc := range o.Links {
		c.found.Links[lc.Name] = lc
	}
	for _, tn := range slices.Concat(o.Nodes, o.Mirrors) {
		c.found.Nodes[mesh.Ref{Cluster: tn.Spec.Cluster, Node: tn.Spec.Node}] = tn
	}
	for _, p := range o.Pods {
		if p.DeletionTimestamp == nil && p.Labels[labelComponent] == "agent" {
			c.found.Agents[p.Spec.NodeName] = p
		}
	}
	for _, ds := range o.DaemonSets {
		if ds.Labels[labelComponent] == "agent" {
			c.found.AgentSet, c.found.AgentsWanted = ds.Name, ds.Status.DesiredNumberScheduled
		}
	}
	for _, d := range o.Deployments {
		switch d.Labels[labelComponent] {
		case "controller":
			c.found.Controller = workload(d)
		case "dns":
			c.found.DNS = workload(d)
		}
	}
	return nil
}

func workload(d *appsv1.Deployment) diagnose.Workload {
	w := diagnose.Workload{Wanted: 1, Ready: d.Status.ReadyReplicas}
	if d.Spec.Replicas != nil {
		w.Wanted = *d.Spec.Replicas
	}
	if w.Wanted == 0 {
		w.Ready = 0 // what is left of it is ending
		w.Trouble = "it is scaled to 0"
	}
	for _, s := range d.Status.Conditions {
		if s.Status != corev1.ConditionTrue && s.Message != "" && w.Trouble == "" {
			w.Trouble = s.Message
		}
	}
	return w
}

// services finds the node services, and the address of the name servers.
func (c *member) services(ctx context.Context) error {
	all, err := c.client.CoreV1().Services(c.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, s := range all.Items {
		if s.Labels[labelComponent] == "dns" || strings.HasSuffix(s.Name, "-dns") && s.Labels["app.kubernetes.io/part-of"] == "sdn-tunnel" {
			c.found.Forward.Server = s.Spec.ClusterIP
		}
		node := s.Annotations[v1alpha1.AnnotationNode]
		if node == "" {
			node = s.Labels[v1alpha1.LabelNode]
		}
		if node == "" || len(s.Spec.Ports) == 0 {
			continue
		}
		n := diagnose.NodeService{Name: s.Name, Type: s.Spec.Type, Port: s.Spec.Ports[0].Port}
		for _, in := range s.Status.LoadBalancer.Ingress {
			for _, at := range []string{in.IP, in.Hostname} {
				if at != "" {
					n.Addresses = append(n.Addresses, at)
				}
			}
		}
		c.found.NodeServices[node] = n
	}
	return nil
}

// networks reads what the SDN has.
func (c *member) networks(ctx context.Context) error {
	err := c.list(ctx, hostSubnets, func(u *unstructured.Unstructured) error {
		subnet, _, _ := unstructured.NestedString(u.Object, "subnet")
		host, _, _ := unstructured.NestedString(u.Object, "host")
		if p, err := netip.ParsePrefix(subnet); err == nil {
			c.found.HostSubnets[host] = p
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.list(ctx, clusterNetworks, func(u *unstructured.Unstructured) error {
		entries, _, _ := unstructured.NestedSlice(u.Object, "clusterNetworks")
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			text, _ := entry["CIDR"].(string)
			if p, err := netip.ParsePrefix(text); err == nil {
				c.found.PodCIDRs = append(c.found.PodCIDRs, p.Masked())
			}
		}
		return nil
	})
}

// forward reads what the cluster's own DNS forwards to ours.
func (c *member) forward(ctx context.Context) error {
	way, err := dnsforward.Detect(ctx, c.dynamic)
	if err != nil {
		return err
	}
	f := &c.found.Forward
	resolver := [2]string{"kube-system", "kube-dns"}
	switch way {
	case dnsforward.Operator:
		resolver = [2]string{"openshift-dns", "dns-default"}
		o, err := c.dynamic.Resource(dnses).Get(ctx, "default", metav1.GetOptions{})
		if err != nil {
			return err
		}
		servers, _, _ := unstructured.NestedSlice(o.Object, "spec", "servers")
		f.Zones, f.To = dnsplan.Forwarded(servers)
	case dnsforward.ConfigMap:
		cm, err := c.client.CoreV1().ConfigMaps("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return err
		}
		f.Zones, f.To = dnsplan.ForwardedIn(cm.Data["Corefile"])
	case dnsforward.Manual:
	}
	f.Way = string(way)
	s, err := c.client.CoreV1().Services(resolver[0]).Get(ctx, resolver[1], metav1.GetOptions{})
	if err == nil {
		f.Resolver, _ = netip.ParseAddr(s.Spec.ClusterIP)
	} else if !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}
