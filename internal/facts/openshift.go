package facts

import (
	"context"
	"fmt"
	"net/netip"

	configv1 "github.com/openshift/api/config/v1"
	configclient "github.com/openshift/client-go/config/clientset/versioned"
	networkclient "github.com/openshift/client-go/network/clientset/versioned"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

// openShiftSDN is the network type that keeps its subnets in network.openshift.io.
const openShiftSDN = "OpenShiftSDN"

// openShift reads the cluster's Network; found is false where there is no such API.
func openShift(ctx context.Context, cfg *rest.Config) (networks, bool, error) {
	c, err := configclient.NewForConfig(cfg)
	if err != nil {
		return networks{}, false, fmt.Errorf("client for config.openshift.io: %w", err)
	}
	network, err := c.ConfigV1().Networks().Get(ctx, "cluster", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return networks{}, false, nil
	case err != nil:
		return networks{}, false, fmt.Errorf("read networks.config.openshift.io cluster: %w", err)
	}
	out, err := fromNetwork(network)
	if err != nil || out.networkType != openShiftSDN {
		return out, true, err
	}
	return out, true, addSDN(ctx, cfg, &out)
}

// fromNetwork prefers the status: the spec may be a wish.
func fromNetwork(n *configv1.Network) (networks, error) {
	out := networks{platform: meshplan.OpenShift, networkType: n.Status.NetworkType}
	entries, services := n.Status.ClusterNetwork, n.Status.ServiceNetwork
	if out.networkType == "" {
		out.networkType = n.Spec.NetworkType
	}
	if len(entries) == 0 {
		entries = n.Spec.ClusterNetwork
	}
	if len(services) == 0 {
		services = n.Spec.ServiceNetwork
	}
	var pods []string
	for _, e := range entries {
		pods = append(pods, e.CIDR)
	}
	var err error
	if out.pods, err = prefixes(pods...); err != nil {
		return out, fmt.Errorf("networks.config.openshift.io cluster: clusterNetwork: %w", err)
	}
	if out.services, err = prefixes(services...); err != nil {
		return out, fmt.Errorf("networks.config.openshift.io cluster: serviceNetwork: %w", err)
	}
	return out, nil
}

// addSDN reads what OpenShift SDN itself keeps: its networks where the other API is
// silent, and the nodes' host subnets.
func addSDN(ctx context.Context, cfg *rest.Config, out *networks) error {
	c, err := networkclient.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("client for network.openshift.io: %w", err)
	}
	if len(out.pods) == 0 || len(out.services) == 0 {
		if err := addClusterNetwork(ctx, c, out); err != nil {
			return err
		}
	}
	subnets, err := c.NetworkV1().HostSubnets().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list hostsubnets.network.openshift.io: %w", err)
	}
	out.hostSubnets = make(map[string][]netip.Prefix, len(subnets.Items))
	for _, hs := range subnets.Items {
		p, err := prefixes(hs.Subnet)
		if err != nil {
			return fmt.Errorf("HostSubnet %s: subnet: %w", hs.Name, err)
		}
		out.hostSubnets[hs.Host] = append(out.hostSubnets[hs.Host], p...)
	}
	return nil
}

func addClusterNetwork(ctx context.Context, c networkclient.Interface, out *networks) error {
	cn, err := c.NetworkV1().ClusterNetworks().Get(ctx, "default", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read clusternetworks.network.openshift.io default: %w", err)
	}
	var pods []string
	for _, e := range cn.ClusterNetworks {
		pods = append(pods, e.CIDR)
	}
	if len(pods) == 0 && cn.Network != "" {
		pods = append(pods, cn.Network)
	}
	if len(out.pods) == 0 {
		if out.pods, err = prefixes(pods...); err != nil {
			return fmt.Errorf("ClusterNetwork default: clusterNetworks: %w", err)
		}
	}
	if len(out.services) == 0 && cn.ServiceNetwork != "" {
		if out.services, err = prefixes(cn.ServiceNetwork); err != nil {
			return fmt.Errorf("ClusterNetwork default: serviceNetwork: %w", err)
		}
	}
	return nil
}
