package sdn

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	networkclient "github.com/openshift/client-go/network/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// controller is the part of OpenShift's SDN controller that the lab needs: host subnets
// for nodes and network ids for namespaces. There is one per cluster.
type controller struct {
	cluster Cluster
	kube    kubernetes.Interface
	network networkclient.Interface
}

func newController(cfg *rest.Config, c Cluster) (*controller, error) {
	cfg = unthrottled(cfg)
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for nodes and namespaces: %w", err)
	}
	network, err := networkclient.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("client for host subnets: %w", err)
	}
	return &controller{cluster: c.withDefaults(), kube: kube, network: network}, nil
}

// RunController gives new nodes their HostSubnets and new namespaces their
// NetNamespaces, and takes those of deleted ones away, until ctx ends. Run one of it
// per cluster, after Install.
func RunController(ctx context.Context, cfg *rest.Config, c Cluster, log *slog.Logger) error {
	ctl, err := newController(cfg, c)
	if err != nil {
		return err
	}
	trigger := make(chan struct{}, 1)
	notify := func() {
		select {
		case trigger <- struct{}{}:
		default:
		}
	}
	factory := informers.NewSharedInformerFactory(ctl.kube, 0)
	for _, inf := range []cache.SharedIndexInformer{
		factory.Core().V1().Nodes().Informer(), factory.Core().V1().Namespaces().Informer(),
	} {
		if _, err := inf.AddEventHandler(onChange(notify)); err != nil {
			return fmt.Errorf("watch nodes and namespaces: %w", err)
		}
	}
	// A node that has not registered yet has its HostSubnet, so only one that is known to
	// be deleted loses it.
	gone := make(chan string, 100)
	_, err = factory.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: func(o any) {
		if name, err := cache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
			gone <- name
		}
	}})
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	factory.WaitForCacheSync(ctx.Done())
	for {
		select {
		case <-ctx.Done():
			return nil
		case name := <-gone:
			if err := ctl.forget(ctx, name); err != nil && ctx.Err() == nil {
				log.Error("host subnet of a deleted node", "node", name, "err", err)
				time.AfterFunc(time.Second, func() { gone <- name })
			}
			continue
		case <-trigger:
		}
		if err := ctl.once(ctx, nil); err != nil && ctx.Err() == nil {
			log.Error("host subnets and network ids", "err", err)
			time.AfterFunc(time.Second, notify)
		}
	}
}

// onChange handles additions and deletions, and modifications other than a node's
// heartbeat.
func onChange(notify func()) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		DeleteFunc: func(any) { notify() },
		UpdateFunc: func(old, new any) {
			was, ok1 := old.(*corev1.Node)
			is, ok2 := new.(*corev1.Node)
			if !ok1 || !ok2 || nodeIP(was) != nodeIP(is) {
				notify()
			}
		},
	}
}

// once makes HostSubnets and NetNamespaces right for the nodes and namespaces there are.
// Planned nodes are ones that have not registered yet.
func (c *controller) once(ctx context.Context, planned []NodeAddress) error {
	if err := c.hostSubnets(ctx, planned); err != nil {
		return err
	}
	return c.netNamespaces(ctx)
}

func (c *controller) hostSubnets(ctx context.Context, planned []NodeAddress) error {
	nodes, err := c.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	for i := range nodes.Items {
		if ip := nodeIP(&nodes.Items[i]); ip.IsValid() {
			planned = append(planned, NodeAddress{Name: nodes.Items[i].Name, IP: ip})
		}
	}
	client := c.network.NetworkV1().HostSubnets()
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list HostSubnets: %w", err)
	}
	var existing []*networkv1.HostSubnet
	for i := range list.Items {
		existing = append(existing, &list.Items[i])
	}
	wanted, err := AllocateSubnets(c.cluster, existing, unique(planned))
	if err != nil {
		return err
	}
	for _, hs := range wanted {
		if hs.UID == "" {
			_, err = client.Create(ctx, hs, metav1.CreateOptions{FieldManager: fieldManager})
		} else {
			_, err = client.Update(ctx, hs, metav1.UpdateOptions{FieldManager: fieldManager})
		}
		if err != nil {
			return fmt.Errorf("write HostSubnet %s: %w", hs.Name, err)
		}
	}
	return nil
}

// forget takes away the HostSubnet of a node that was deleted, unless it is back.
func (c *controller) forget(ctx context.Context, node string) error {
	_, err := c.kube.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	err = c.network.NetworkV1().HostSubnets().Delete(ctx, node, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete HostSubnet %s: %w", node, err)
	}
	return nil
}

// unique keeps the first of each name: a node's planned address may be there as well.
func unique(nodes []NodeAddress) []NodeAddress {
	seen := map[string]bool{}
	var out []NodeAddress
	for _, n := range nodes {
		if !seen[n.Name] {
			out = append(out, n)
			seen[n.Name] = true
		}
	}
	return out
}

func nodeIP(n *corev1.Node) netip.Addr {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			if ip, err := netip.ParseAddr(a.Address); err == nil && ip.Is4() {
				return ip
			}
		}
	}
	return netip.Addr{}
}

func (c *controller) netNamespaces(ctx context.Context) error {
	namespaces, err := c.kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	client := c.network.NetworkV1().NetNamespaces()
	list, err := client.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list NetNamespaces: %w", err)
	}
	present := map[string]bool{}
	var names []string
	for _, ns := range namespaces.Items {
		present[ns.Name] = true
		names = append(names, ns.Name)
	}
	var existing []*networkv1.NetNamespace
	for i := range list.Items {
		n := &list.Items[i]
		if !present[n.Name] {
			if err := client.Delete(ctx, n.Name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("delete NetNamespace %s: %w", n.Name, err)
			}
			continue
		}
		existing = append(existing, n)
	}
	wanted, err := AllocateVNIDs(c.cluster.Mode, existing, names)
	if err != nil {
		return err
	}
	for _, n := range wanted {
		if _, err := client.Create(ctx, n, metav1.CreateOptions{FieldManager: fieldManager}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("create NetNamespace %s: %w", n.Name, err)
		}
	}
	return nil
}
