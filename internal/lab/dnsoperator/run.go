package dnsoperator

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	operatorv1 "github.com/openshift/api/operator/v1"
	operatorclient "github.com/openshift/client-go/operator/clientset/versioned"
	"github.com/urfave/cli/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	namespace = "openshift-dns"
	name      = "dns-default"
	key       = "Corefile"
	// interval is short: the lab is small, and its tests wait for it.
	interval = time.Second
)

// Commands are the hidden commands that the lab runs for itself.
func Commands() []*cli.Command {
	return []*cli.Command{{
		Name: "dns-operator", Hidden: true, Usage: "keep the cluster's DNS as OpenShift's operator would",
		Flags: []cli.Flag{&cli.StringFlag{Name: "kubeconfig", Required: true, Usage: "the cluster's API"}},
		Action: func(c *cli.Context) error {
			cfg, err := clientcmd.BuildConfigFromFlags("", c.String("kubeconfig"))
			if err != nil {
				return fmt.Errorf("--kubeconfig: %w", err)
			}
			return Run(c.Context, cfg, slog.Default())
		},
	}}
}

// Run keeps the Corefile until ctx ends.
func Run(ctx context.Context, cfg *rest.Config, log *slog.Logger) error {
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("client for ConfigMaps: %w", err)
	}
	operator, err := operatorclient.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("client for operator.openshift.io: %w", err)
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if changed, err := once(ctx, kube, operator); err != nil && ctx.Err() == nil {
			log.Warn("keep the cluster's DNS", "err", err)
		} else if changed {
			log.Info("the cluster's DNS has a new Corefile")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func once(ctx context.Context, kube kubernetes.Interface, operator operatorclient.Interface) (changed bool, err error) {
	dns, err := operator.OperatorV1().DNSes().Get(ctx, "default", metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("read dns.operator.openshift.io default: %w", err)
	}
	if dns.Spec.ManagementState == operatorv1.Unmanaged {
		return false, nil
	}
	text, err := Render(dns)
	if err != nil {
		return false, err
	}
	maps := kube.CoreV1().ConfigMaps(namespace)
	cm, err := maps.Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		cm = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{key: text}}
		_, err = maps.Create(ctx, cm, metav1.CreateOptions{})
	case err != nil || cm.Data[key] == text:
		return false, err
	default:
		cm.Data = map[string]string{key: text}
		_, err = maps.Update(ctx, cm, metav1.UpdateOptions{})
	}
	if err != nil {
		return false, fmt.Errorf("write ConfigMap %s/%s: %w", namespace, name, err)
	}
	return true, nil
}
