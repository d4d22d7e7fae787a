package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // remotecommand returns its errors
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// probe runs the prober in a pod.
func (k *kubeCluster) probe(ctx context.Context, p pod, req probe.Request) ([]probe.Result, error) {
	var results []probe.Result
	err := k.testApp(ctx, p, "probe", req, &results)
	return results, err
}

// ask asks services from inside a pod.
func (k *kubeCluster) ask(ctx context.Context, p pod, req probe.ServicesRequest) ([]probe.ServiceResult, error) {
	var results []probe.ServiceResult
	err := k.testApp(ctx, p, "ask", req, &results)
	return results, err
}

// testApp runs the test application in a pod: JSON in, JSON out.
func (k *kubeCluster) testApp(ctx context.Context, p pod, mode string, req, results any) error {
	in, err := json.Marshal(req)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	out, err := k.exec(ctx, p.namespace, p.name, in, "/usr/bin/test-app", mode)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, results); err != nil {
		return fmt.Errorf("read the prober's answer: %w", err)
	}
	return nil
}

// exec runs a command in a pod's first container and returns its standard output.
func (k *kubeCluster) exec(ctx context.Context, namespace, pod string, stdin []byte, command ...string) ([]byte, error) {
	url := k.client.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdin: stdin != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec).
		URL()
	// WebSocket, and SPDY where the API server or something before it refuses that.
	socket, err := remotecommand.NewWebSocketExecutor(k.config, http.MethodGet, url.String())
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(k.config, http.MethodPost, url)
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	executor, err := remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	var stdout, stderr bytes.Buffer
	streams := remotecommand.StreamOptions{Stdout: &stdout, Stderr: &stderr}
	if stdin != nil {
		streams.Stdin = bytes.NewReader(stdin)
	}
	if err := executor.StreamWithContext(ctx, streams); err != nil {
		if said := strings.TrimSpace(stderr.String()); said != "" {
			return nil, fmt.Errorf("%s: %w: %s", command[0], err, said)
		}
		return nil, fmt.Errorf("%s: %w", command[0], err)
	}
	return stdout.Bytes(), nil
}
