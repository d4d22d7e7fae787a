package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

// explainTimeout bounds the questions after a failure.
const explainTimeout = 5 * time.Second

// WhyAgents says why agents are not ready, as they say it of themselves in the cluster's
// TunnelNodes: a pod's status only has that its probe fails. It is empty where nothing can be
// read.
func WhyAgents(ctx context.Context, acc *kubeaccess.Access, name string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	c, err := Client(acc)
	if err != nil {
		return ""
	}
	var nodes v1alpha1.TunnelNodeList
	if err := c.List(ctx, &nodes); err != nil {
		return ""
	}
	return reasons(name, nodes.Items)
}

// reasons lists the nodes of a cluster whose agents are not ready.
func reasons(name string, nodes []v1alpha1.TunnelNode) string {
	var b strings.Builder
	for _, n := range nodes {
		c := meta.FindStatusCondition(n.Status.Conditions, v1alpha1.ConditionReady)
		if n.Spec.Cluster == name && c != nil && c.Status != metav1.ConditionTrue {
			_, _ = fmt.Fprintf(&b, "\nnode %s: %s", n.Spec.Node, c.Message)
		}
	}
	return b.String()
}
