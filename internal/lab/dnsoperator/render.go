package dnsoperator

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"

	operatorv1 "github.com/openshift/api/operator/v1"
)

//go:embed corefile.tmpl
var corefileText string

// corefile is the operator's own text (cluster-dns-operator, controller_dns_configmap.go),
// but for two things: no other resolver is behind a lab, and a change of the file is
// taken up sooner.
var corefile = template.Must(template.New("Corefile").Funcs(template.FuncMap{"policy": policy}).Parse(corefileText))

// policy is CoreDNS's word for the operator's.
func policy(p operatorv1.ForwardingPolicy) string {
	switch p {
	case operatorv1.RoundRobinForwardingPolicy:
		return "round_robin"
	case operatorv1.SequentialForwardingPolicy:
		return "sequential"
	}
	return "random"
}

// Render writes the Corefile of a cluster's DNS.
func Render(dns *operatorv1.DNS) (string, error) {
	var b bytes.Buffer
	if err := corefile.Execute(&b, dns); err != nil {
		return "", fmt.Errorf("write the Corefile: %w", err)
	}
	return b.String(), nil
}
