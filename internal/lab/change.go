package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/pki"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

// NodeAdd has one more node join a cluster of a lab that is up, and returns when it is
// Ready.
func (l *Lab) NodeAdd(ctx context.Context, cluster string) (layout.Node, error) {
	l.began = time.Now()
	more, n, err := l.Join(cluster)
	if err != nil {
		return n, err
	}
	l.Lab = more
	c, _ := l.Cluster(cluster)
	if err := l.changed(func() error { return underlay.AddNode(l.Lab, c, n) }); err != nil {
		return n, err
	}
	creds, err := l.credentials(c)
	if err != nil {
		return n, err
	}
	spec, err := l.node(c, n, creds)
	if err != nil {
		return n, err
	}
	if err := spec.Start(l.selfCommand("machine-init")); err != nil {
		return n, err
	}
	tars, err := l.imageFiles()
	if err != nil {
		return n, err
	}
	if err := l.LoadImages(ctx, n, tars); err != nil {
		return n, err
	}
	l.step("node " + n.Name + " started")
	client, err := l.client(c)
	if err != nil {
		return n, err
	}
	if err := l.awaitNode(ctx, client, n.Name, patience); err != nil {
		return n, err
	}
	l.step("node " + n.Name + " ready")
	return n, nil
}

// NodeRemove takes a node away for good, as one that was scaled down: it is powered off,
// and its Node is deleted.
func (l *Lab) NodeRemove(ctx context.Context, name string) error {
	less, err := l.Leave(name)
	if err != nil {
		return err
	}
	c, n, _ := l.Node(name)
	client, err := l.client(c)
	if err != nil {
		return err
	}
	if spec, err := l.NodeMachine(name); err == nil && pidOf(spec) != 0 {
		if err := spec.PowerOff(patience); err != nil {
			return err
		}
	}
	if err := client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Node %s: %w", name, err)
	}
	l.Lab = less
	return l.changed(func() error {
		return errors.Join(machine.KillAll(l.cgroup(name), patience), underlay.RemoveNamespace(l.NodeNS(n)),
			underlay.UpdateRules(l.Lab), unmountBelow(l.nodeDir(n)), os.RemoveAll(l.nodeDir(n)))
	})
}

// ClusterAdd brings up one more cluster in a lab that is up.
func (l *Lab) ClusterAdd(ctx context.Context) (layout.Cluster, error) {
	l.began = time.Now()
	config := l.Config
	config.Clusters++
	more, err := layout.New(config)
	if err != nil {
		return layout.Cluster{}, err
	}
	l.Lab = more
	c := l.Clusters[len(l.Clusters)-1]
	if err := l.changed(func() error { return underlay.AddCluster(l.Lab, c) }); err != nil {
		return c, err
	}
	tars, err := l.imageFiles()
	if err != nil {
		return c, err
	}
	if err := l.clusterUp(ctx, c, func() []string { return tars }); err != nil {
		return c, fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	l.step("cluster " + c.Name + " ready")
	return c, errors.Join(l.mergeKubeconfigs(), l.writeInventory())
}

// changed records the lab as it is from now on and changes the network.
func (l *Lab) changed(network func() error) error {
	if err := l.save(); err != nil {
		return err
	}
	if err := network(); err != nil {
		return err
	}
	if err := l.writeKnownHosts(); err != nil {
		return err
	}
	return l.writeInventory()
}

// credentials are those of a cluster that is up, for signing more.
func (l *Lab) credentials(c layout.Cluster) (*credentials, error) {
	file := func(name string) string { return filepath.Join(l.controlPlaneDir(c), "pki", name) }
	cert, err := os.ReadFile(file("ca.crt"))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(file("ca.key"))
	if err != nil {
		return nil, err
	}
	ca, err := pki.LoadAuthority(pki.Pair{Cert: cert, Key: key})
	return &credentials{ca: ca}, err
}

// imageFiles are the tarballs that Up built.
func (l *Lab) imageFiles() ([]string, error) {
	tars, err := filepath.Glob(l.path("images", "*.tar"))
	if err == nil && len(tars) == 0 {
		err = fmt.Errorf("lab %s has no images: sdn-tunnel lab images --name %[1]s builds them", l.Name)
	}
	return tars, err
}

func (l *Lab) client(c layout.Cluster) (kubernetes.Interface, error) {
	cfg, err := l.access(c)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

// awaitNode waits until a node is Ready.
func (l *Lab) awaitNode(ctx context.Context, client kubernetes.Interface, name string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err == nil && nodeReady(n) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("node %s is not Ready after %s: see sdn-tunnel lab logs --name %s %[1]s", name, limit, l.Name)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func nodeReady(n *corev1.Node) bool {
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			return cond.Status == corev1.ConditionTrue
		}
	}
	return false
}
