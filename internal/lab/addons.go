package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/manifests"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

// dialIn dials from inside a network namespace.
func dialIn(ns string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = underlay.In(ns, func() error {
			conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// access is the admin's access to a cluster that is coming up.
func (l *Lab) access(c layout.Cluster) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(l.controlPlaneDir(c), "pki", "admin.kubeconfig"))
	if err != nil {
		return nil, err
	}
	cfg.Dial = dialIn(l.OperatorNS())
	cfg.QPS, cfg.Burst = 200, 400
	return cfg, nil
}

// fill waits for the API server and gives the cluster what every cluster has.
func (l *Lab) fill(ctx context.Context, c layout.Cluster) error {
	cfg, err := l.access(c)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	if err := ready(ctx, client, patience); err != nil {
		return err
	}
	if err := os.WriteFile(l.apiUp(c), nil, 0o644); err != nil {
		return err
	}
	l.step("API of " + c.Name)
	if err := sdn.Install(ctx, cfg, l.sdnCluster(c)); err != nil {
		return err
	}
	if err := os.WriteFile(l.sdnInstalled(c), nil, 0o644); err != nil {
		return err
	}
	if err := manifests.Apply(ctx, cfg, l.tools.Asset("metallb-crds"), manifests.Values{
		CoreDNSImage: coreDNSImage, MetalLBControllerImage: metallbControllerImage, MetalLBSpeakerImage: metallbSpeakerImage,
		DNSAddress: c.ServiceAddress(10), PoolFirst: c.VIPFirst, PoolLast: c.VIPLast,
		DNSOperator: c.DNSOperator,
	}); err != nil {
		return err
	}
	l.step("objects of " + c.Name)
	return l.awaitPods(ctx, client, c, patience)
}

func (l *Lab) sdnCluster(c layout.Cluster) sdn.Cluster {
	out := sdn.Cluster{
		Name: c.Name, Mode: tables.Mode(l.SDNMode), PodCIDR: c.Pods, ServiceCIDR: c.Services,
		MTU: layout.MTU, DNSAddress: c.ServiceAddress(10), Definitions: os.DirFS(l.tools.Asset("openshift-crds")),
	}
	for _, n := range c.Nodes {
		out.Nodes = append(out.Nodes, sdn.NodeAddress{Name: n.Name, IP: n.Address})
	}
	return out
}

// ready waits for /readyz.
func ready(ctx context.Context, client kubernetes.Interface, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("API server is not ready after %s: %w: see sdn-tunnel lab logs", limit, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// awaitPods waits for Ready nodes, all of them, and Ready add-ons.
func (l *Lab) awaitPods(ctx context.Context, client kubernetes.Interface, c layout.Cluster, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		missing := notReady(ctx, client, len(c.Nodes))
		if missing == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready after %s: %w: see sdn-tunnel lab logs", limit, missing)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// addOns is how many pods run in a fresh cluster beside one MetalLB speaker a node.
const addOns = 2

func notReady(ctx context.Context, client kubernetes.Interface, nodes int) error {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	up := 0
	for i := range list.Items {
		if nodeReady(&list.Items[i]) {
			up++
		}
	}
	if up < nodes {
		return fmt.Errorf("%d of %d nodes are Ready", up, nodes)
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	running := 0
	for _, p := range pods.Items {
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
				running++
			}
		}
	}
	if want := nodes + addOns; running < want {
		return fmt.Errorf("%d of %d pods are Ready", running, want)
	}
	return nil
}
