package gather

import (
	"context"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
	"github.com/sdn-tunnel/sdn-tunnel/internal/podexec"
)

// kubeCluster is a cluster behind a real API.
type kubeCluster struct {
	config  *rest.Config
	client  kubernetes.Interface
	dynamic dynamic.Interface
}

func connect(ctx context.Context, m meshstatus.Member) (cluster, error) {
	config, err := m.Open(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &kubeCluster{config: config, client: client, dynamic: dyn}, nil
}

// objects reads page by page; of a kind that the server does not have there is nothing.
func (k *kubeCluster) objects(ctx context.Context, r resource, namespace string) ([]map[string]any, error) {
	var all []map[string]any
	for next := ""; ; {
		options := listOptions(r.selector, next)
		options.FieldSelector = r.about
		page, err := k.dynamic.Resource(r.GroupVersionResource).Namespace(namespace).List(ctx, options)
		if apierrors.IsNotFound(err) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		for i := range page.Items {
			all = append(all, page.Items[i].Object)
		}
		if next = page.GetContinue(); next == "" {
			return all, nil
		}
	}
}

func (k *kubeCluster) pods(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	var all []corev1.Pod
	for next := ""; ; {
		page, err := k.client.CoreV1().Pods(namespace).List(ctx, listOptions("app.kubernetes.io/name=sdn-tunnel", next))
		if err != nil {
			return all, err
		}
		all = append(all, page.Items...)
		if next = page.Continue; next == "" {
			return all, nil
		}
	}
}

func (k *kubeCluster) log(ctx context.Context, pod *corev1.Pod, o *corev1.PodLogOptions) ([]byte, error) {
	stream, err := k.client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, o).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, maxLog))
	if err != nil {
		return nil, fmt.Errorf("read it: %w", err)
	}
	return text, nil
}

func (k *kubeCluster) dump(ctx context.Context, pod *corev1.Pod) ([]byte, error) {
	return podexec.Run(ctx, k.config, k.client, pod.Namespace, pod.Name, nil, "/usr/bin/sdn-tunnel-agent", "dump")
}
