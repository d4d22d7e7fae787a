package verify

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sdn-tunnel/sdn-tunnel/internal/podexec"
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
	out, err := podexec.Run(ctx, k.config, k.client, p.namespace, p.name, in, "/usr/bin/test-app", mode)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, results); err != nil {
		return fmt.Errorf("read the prober's answer: %w", err)
	}
	return nil
}
