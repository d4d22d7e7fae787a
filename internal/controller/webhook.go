package controller

import (
	"crypto/tls"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/sdn-tunnel/sdn-tunnel/internal/admission"
)

// webhookPath is where the API server asks.
const webhookPath = "/tunnelnodes"

// WebhookOptions say how the admission webhook is served, and for whom.
type WebhookOptions struct {
	Port int // 0: it is not
	// Service, also the Secret's name, and Configuration are made by the deploy.
	Service, Configuration string
	// AgentServiceAccount is the agents'.
	AgentServiceAccount string
	// Names are further ones for the certificate.
	Names []string
}

// webhook is what every replica runs for the admission webhook: the server, and what
// keeps its certificate.
func (o Options) webhook(mgr ctrl.Manager) []manager.Runnable {
	keeper := &admission.Keeper{
		Names: admission.Names{Namespace: o.Namespace, Service: o.Webhook.Service,
			Configuration: o.Webhook.Configuration, Also: o.Webhook.Names},
		Reader: mgr.GetAPIReader(), Writer: mgr.GetClient(), Log: o.Log, Now: o.Now,
	}
	server := webhook.NewServer(webhook.Options{Port: o.Webhook.Port, TLSOpts: []func(*tls.Config){
		func(c *tls.Config) { c.GetCertificate, c.MinVersion = keeper.Certificate, tls.VersionTLS12 },
	}})
	server.Register(webhookPath, &webhook.Admission{Handler: &admission.Handler{
		Rules: admission.Rules{Cluster: o.Cluster, Namespace: o.Namespace, ServiceAccount: o.Webhook.AgentServiceAccount},
		API:   mgr.GetAPIReader(), Log: o.Log,
	}})
	return []manager.Runnable{keeper, server}
}
