package admission

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	networkv1 "github.com/openshift/api/network/v1"
	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// What an API server adds to the user of a token that is bound to a pod. The node's
// name is there from 1.30 on (KEP-4193), the pod's much longer.
const (
	nodeName = "authentication.kubernetes.io/node-name"
	podName  = "authentication.kubernetes.io/pod-name"
	podUID   = "authentication.kubernetes.io/pod-uid"
)

// Handler answers the API server's reviews.
type Handler struct {
	Rules
	// API reads the agents' pods, and what the cluster gave a node.
	API client.Reader
	Log *slog.Logger
}

// Handle allows all but what an agent may not do.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.UserInfo.Username != h.Agents() ||
		req.Operation != admissionv1.Create && req.Operation != admissionv1.Update {
		return admission.Allowed("")
	}
	asked, refusal := read(&req.AdmissionRequest)
	node, err := h.node(ctx, req.UserInfo)
	var own []string
	if err == nil && node != "" && asked.claims() {
		own, err = h.given(ctx, node)
	}
	if err != nil {
		h.Log.Error("an agent's request cannot be judged", "object", req.Name, "err", err)
		return admission.Errored(http.StatusInternalServerError, err)
	}
	if refusal == nil {
		refusal = h.judge(asked, node, own)
	}
	if refusal != nil {
		h.Log.Warn("refused what an agent asked for", "node", node, "object", req.Name, "subresource", req.SubResource, "why", refusal)
		return admission.Denied(refusal.Error())
	}
	return admission.Allowed("")
}

// given are the host subnets that the cluster gave a node: OpenShift SDN's where there is
// one, else those of the Node.
func (h *Handler) given(ctx context.Context, node string) ([]string, error) {
	var subnet networkv1.HostSubnet
	err := h.API.Get(ctx, client.ObjectKey{Name: node}, &subnet)
	switch {
	case err == nil:
		return []string{subnet.Subnet}, nil
	case apierrors.IsNotFound(err):
		return nil, nil
	case !meta.IsNoMatchError(err):
		return nil, fmt.Errorf("read HostSubnet %s: %w", node, err)
	}
	var is corev1.Node
	if err := h.API.Get(ctx, client.ObjectKey{Name: node}, &is); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read Node %s: %w", node, err)
	}
	return is.Spec.PodCIDRs, nil
}

// node is where the token's pod runs, empty if the token does not tell. The pod's uid
// has to be the token's: a pod that was made anew may be elsewhere.
func (h *Handler) node(ctx context.Context, user authenticationv1.UserInfo) (string, error) {
	if node := one(user, nodeName); node != "" {
		return node, nil
	}
	name, uid := one(user, podName), one(user, podUID)
	if name == "" || uid == "" {
		return "", nil
	}
	var pod corev1.Pod
	err := h.API.Get(ctx, client.ObjectKey{Namespace: h.Namespace, Name: name}, &pod)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the agent's pod %s: %w", name, err)
	}
	if string(pod.UID) != uid || pod.Spec.ServiceAccountName != h.ServiceAccount {
		return "", nil
	}
	return pod.Spec.NodeName, nil
}

// one is the value of something that has exactly one.
func one(user authenticationv1.UserInfo, key string) string {
	if values := user.Extra[key]; len(values) == 1 {
		return values[0]
	}
	return ""
}
