package kubeaccess

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Kinds of errors, for errors.Is.
var (
	// ErrInvalid: the arguments or the kubeconfig cannot be used as they are.
	ErrInvalid = errors.New("invalid access")
	// ErrUnreachable: nothing answers at the API server's address.
	ErrUnreachable = errors.New("unreachable API server")
	// ErrUntrusted: the server's certificate cannot be verified.
	ErrUntrusted = errors.New("untrusted certificate")
	// ErrCredentials: the server refuses the credentials.
	ErrCredentials = errors.New("bad credentials")
	// ErrNoLogin: the server has no OAuth endpoint to log in at.
	ErrNoLogin = errors.New("no login by password")
)

// Error says which cluster cannot be used, why, and what to do about it.
type Error struct {
	Kind    error  // one of the kinds above
	Cluster string // name, context or URL
	URL     string // what was asked, if anything was
	Field   string // the argument to look at
	Problem string
	Remedy  string
	Err     error // the cause, if there is one
}

// Error is the whole message in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s: %v", e.Cluster, e.Kind)
	if e.URL != "" {
		fmt.Fprintf(&b, ": %s", e.URL)
	}
	fmt.Fprintf(&b, ": %s", e.Problem)
	if e.Field != "" {
		fmt.Fprintf(&b, " (field %s)", e.Field)
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, "; %s", e.Remedy)
	}
	return b.String()
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// Explain turns an error of a request to server into an Error that names the cluster
// and the remedy. Errors that are not about access are returned as they are.
func Explain(a Args, server string, err error) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	e := &Error{Cluster: a.cluster(), URL: redactURL(server), Err: err}
	if explainCertificate(e, err) {
		return e
	}
	if apierrors.IsUnauthorized(err) {
		e.Kind, e.Problem = ErrCredentials, "the server refuses the credentials (401)"
		e.Field, e.Remedy = a.credentialField(), "check that they belong to this cluster and have not expired"
		return e
	}
	if isNetwork(err) {
		e.Kind, e.Field, e.Problem = ErrUnreachable, a.serverField(), cause(err)
		e.Remedy = "check the address and that this machine may connect to it"
		return e
	}
	return err
}

func (a Args) serverField() string {
	if a.URL != "" {
		return "url"
	}
	return "kubeconfig"
}

func (a Args) credentialField() string {
	if a.URL != "" {
		return "username, password"
	}
	return "kubeconfig"
}

// explainCertificate fills e when err is about the server's certificate.
func explainCertificate(e *Error, err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
	)
	e.Kind, e.Field = ErrUntrusted, "ca_file"
	switch {
	case errors.As(err, &hostname):
		e.Problem = hostname.Error()
		e.Remedy = "use an address that the certificate names"
	case errors.As(err, &invalid):
		e.Problem = fmt.Sprintf("%s, issued by %q", invalid.Error(), issuer(invalid.Cert))
		e.Remedy = "renew the certificate, or check this machine's clock"
	case errors.As(err, &unknown):
		cert := unknown.Cert
		if errors.As(err, &verify) && len(verify.UnverifiedCertificates) > 0 {
			cert = verify.UnverifiedCertificates[0]
		}
		e.Problem = fmt.Sprintf("the certificate is issued by %q, which is not trusted here", issuer(cert))
		e.Remedy = "set ca_file to a PEM file with that authority's certificate"
	case errors.As(err, &verify):
		e.Problem = verify.Error()
		e.Remedy = "set ca_file to a PEM file with the authority's certificate"
	default:
		e.Kind, e.Field = nil, ""
		return false
	}
	return true
}

func issuer(c *x509.Certificate) string {
	if c == nil {
		return "unknown"
	}
	return c.Issuer.String()
}

func isNetwork(err error) bool {
	var (
		op     *net.OpError
		dns    *net.DNSError
		urlErr *url.Error
	)
	return errors.As(err, &op) || errors.As(err, &dns) || errors.As(err, &urlErr) ||
		errors.Is(err, context.DeadlineExceeded)
}

// cause is the innermost part of a network error that people can use.
func cause(err error) string {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}
