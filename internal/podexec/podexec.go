// Package podexec runs a command in a pod, as kubectl exec does.
package podexec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // remotecommand returns its errors
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

// maxOutput bounds what a command may say, in bytes.
const maxOutput = 32 << 20

// ErrTooMuch says that a command said more than is taken.
var ErrTooMuch = errors.New("the command's output is too large")

// Run runs a command in a pod's first container and returns its standard output.
func Run(ctx context.Context, config *rest.Config, client kubernetes.Interface, namespace, pod string, stdin []byte, command ...string) ([]byte, error) {
	url := client.CoreV1().RESTClient().Post().
		Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdin: stdin != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec).
		URL()
	// WebSocket, and SPDY where the API server or something before it refuses that.
	socket, err := remotecommand.NewWebSocketExecutor(config, http.MethodGet, url.String())
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, url)
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	executor, err := remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	var stdout, stderr bounded
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

// bounded is a buffer that takes no more than maxOutput.
type bounded struct{ bytes.Buffer }

// Write fails when there is too much.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxOutput {
		return 0, ErrTooMuch
	}
	return b.Buffer.Write(p)
}
