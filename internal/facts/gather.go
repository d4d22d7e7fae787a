package facts

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

// Given is what the operator says of a cluster; it goes before what is found.
type Given struct {
	Name         string
	PodCIDRs     []netip.Prefix
	ServiceCIDRs []netip.Prefix
}

// Error says what is missing in which cluster and what to do about it.
type Error struct {
	Cluster, Server string
	Field           string // the fact
	Problem, Remedy string
	Err             error // the cause, if there is one
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Error is the whole message in one line.
func (e *Error) Error() string {
	return fmt.Sprintf("cluster %s (%s): %s: %s; %s", e.Cluster, e.Server, e.Field, e.Problem, e.Remedy)
}

// networks is what a platform says of its networks.
type networks struct {
	platform       meshplan.Platform
	networkType    string
	pods, services []netip.Prefix
	// hostSubnets are by node name; nil: the nodes' spec.podCIDRs are meant.
	hostSubnets map[string][]netip.Prefix
}

// Gather reads a cluster's facts.
func Gather(ctx context.Context, cfg *rest.Config, name string) (meshplan.Facts, error) {
	return GatherWith(ctx, cfg, Given{Name: name})
}

// GatherWith is Gather where the operator says more than the name.
func GatherWith(ctx context.Context, cfg *rest.Config, given Given) (meshplan.Facts, error) {
	out := meshplan.Facts{Name: given.Name, Server: cfg.Host}
	core, err := kubernetes.NewForConfig(compact(cfg))
	if err != nil {
		return out, fmt.Errorf("cluster %s: client for %s: %w", given.Name, cfg.Host, err)
	}
	var (
		info  *version.Info
		nodes *corev1.NodeList
		nets  networks
	)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		info, err = core.Discovery().ServerVersion()
		return wrap(err, "read the version")
	})
	g.Go(func() (err error) {
		// Not at version 0: that may leave out a node which has joined a moment ago.
		nodes, err = core.CoreV1().Nodes().List(gctx, metav1.ListOptions{})
		return wrap(err, "list the nodes")
	})
	g.Go(func() (err error) {
		nets, err = readNetworks(gctx, cfg, core, given)
		return err
	})
	g.Go(func() (err error) {
		out.TunnelCIDRs, err = tunnelCIDRs(gctx, cfg)
		return err
	})
	if err := g.Wait(); err != nil {
		return out, failed(given.Name, cfg.Host, err)
	}
	if out.Major, out.Minor, err = parseVersion(info); err != nil {
		return out, fmt.Errorf("cluster %s (%s): %w", given.Name, cfg.Host, err)
	}
	out.Platform, out.NetworkType = nets.platform, nets.networkType
	out.PodCIDRs, out.ServiceCIDRs = nets.pods, nets.services
	out.Nodes = make([]meshplan.Node, len(nodes.Items))
	for i := range nodes.Items {
		out.Nodes[i] = nodeFacts(&nodes.Items[i], nets.hostSubnets)
	}
	return out, complete(&out, given)
}

// failed says which cluster could not be read, and what to do where that is known.
func failed(name, server string, err error) error {
	if apierrors.IsForbidden(err) {
		return &Error{Cluster: name, Server: server, Field: "rights", Problem: err.Error(),
			Remedy: "use an account that may read the cluster's nodes and networks, such as one with ClusterRole cluster-reader or cluster-admin", Err: err}
	}
	return fmt.Errorf("cluster %s (%s): %w", name, server, err)
}

// readNetworks asks OpenShift's API and, where there is none, looks for the networks
// of another Kubernetes.
func readNetworks(ctx context.Context, cfg *rest.Config, core kubernetes.Interface, given Given) (networks, error) {
	nets, found, err := openShift(ctx, cfg)
	if err == nil && !found {
		nets, err = vanilla(ctx, core)
	}
	if len(given.PodCIDRs) > 0 {
		nets.pods = given.PodCIDRs
	}
	if len(given.ServiceCIDRs) > 0 {
		nets.services = given.ServiceCIDRs
	}
	return nets, err
}

// complete fills in what nodes tell of the pod network, and refuses what is missing.
func complete(f *meshplan.Facts, given Given) error {
	missing := func(field, problem, remedy string) error {
		return &Error{Cluster: given.Name, Server: f.Server, Field: field, Problem: problem, Remedy: remedy}
	}
	if len(f.PodCIDRs) == 0 {
		return missing("podCIDRs", "the pod networks are not to be found ("+lookedAt(f.Platform)+")",
			"set pod_cidrs for the cluster in the inventory")
	}
	if len(f.ServiceCIDRs) == 0 {
		return missing("serviceCIDRs", "the service networks are not to be found ("+lookedAt(f.Platform)+")",
			"set service_cidrs for the cluster in the inventory")
	}
	return nil
}

func lookedAt(p meshplan.Platform) string {
	if p == meshplan.OpenShift {
		return "looked at networks.config.openshift.io cluster and clusternetworks.network.openshift.io default"
	}
	return "looked at networks.config.openshift.io, ServiceCIDR objects, ConfigMap kube-system/kubeadm-config, the control plane's pods and the nodes' podCIDRs"
}

// nodeFacts reads one node.
func nodeFacts(n *corev1.Node, hostSubnets map[string][]netip.Prefix) meshplan.Node {
	out := meshplan.Node{
		Name:          n.Name,
		Schedulable:   !n.Spec.Unschedulable,
		OSImage:       n.Status.NodeInfo.OSImage,
		KernelVersion: n.Status.NodeInfo.KernelVersion,
	}
	for _, a := range n.Status.Addresses {
		addr, err := netip.ParseAddr(a.Address)
		switch {
		case err != nil:
		case a.Type == corev1.NodeInternalIP:
			out.InternalIPs = append(out.InternalIPs, addr)
		case a.Type == corev1.NodeExternalIP:
			out.ExternalIPs = append(out.ExternalIPs, addr)
		}
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			out.Ready = c.Status == corev1.ConditionTrue
		}
	}
	if hostSubnets != nil {
		out.HostSubnets = hostSubnets[n.Name]
		return out
	}
	out.HostSubnets, _ = prefixes(podCIDRsOf(n)...) // the API server has checked them
	return out
}

func podCIDRsOf(n *corev1.Node) []string {
	if len(n.Spec.PodCIDRs) == 0 && n.Spec.PodCIDR != "" {
		return []string{n.Spec.PodCIDR}
	}
	return n.Spec.PodCIDRs
}

// tunnelCIDRs are those of an earlier deploy; a cluster without the CRD has none.
func tunnelCIDRs(ctx context.Context, cfg *rest.Config) (map[string]netip.Prefix, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	mapper := meta.NewDefaultRESTMapper(nil) // one kind: no need to ask for all that there are
	mapper.Add(v1alpha1.GroupVersion.WithKind("LinkedCluster"), meta.RESTScopeRoot)
	c, err := client.New(cfg, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("client for LinkedClusters: %w", err)
	}
	var list v1alpha1.LinkedClusterList
	switch err := c.List(ctx, &list); {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list the LinkedClusters: %w", err)
	}
	out := make(map[string]netip.Prefix, len(list.Items))
	for _, lc := range list.Items {
		p, err := netip.ParsePrefix(string(lc.Spec.TunnelCIDR))
		if err != nil {
			return nil, fmt.Errorf("LinkedCluster %s: spec.tunnelCIDR: %w", lc.Name, err)
		}
		out[lc.Name] = p.Masked()
	}
	return out, nil
}

// parseVersion reads "1" and "24", or "24+" as some providers write it.
func parseVersion(v *version.Info) (major, minor int, err error) {
	digits := func(s string) string { return strings.TrimRight(s, "+abcdefghijklmnopqrstuvwxyz-.") }
	major, err = strconv.Atoi(digits(v.Major))
	if err == nil {
		minor, err = strconv.Atoi(digits(v.Minor))
	}
	if err != nil {
		return 0, 0, fmt.Errorf("the API server's version %q.%q (%s) cannot be read", v.Major, v.Minor, v.GitVersion)
	}
	return major, minor, nil
}

// prefixes parses what an API object says, without host bits.
func prefixes(texts ...string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range texts {
		p, err := netip.ParsePrefix(strings.TrimSpace(s))
		if err != nil {
			return nil, err
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// compact asks for protobuf, which makes a list of nodes a third of its size.
func compact(cfg *rest.Config) *rest.Config {
	c := rest.CopyConfig(cfg)
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return c
}

func wrap(err error, doing string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}
