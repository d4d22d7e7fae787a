package kubeaccess

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// Args is how a cluster is reached: Kubeconfig and Context, or URL, Username and
// Password. Without either, the default kubeconfig (KUBECONFIG, then the home
// folder's) and Context are used. The JSON names are those of the inventory.
type Args struct {
	// Name is the cluster's name, for errors only.
	Name string `json:"-"`
	// Kubeconfig is a file's path; Context one of its contexts, by default the current one.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	Context    string `json:"context,omitempty"`
	// URL is that of the API server, https only.
	URL      string `json:"url,omitempty"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	// CAFile is a PEM file of the authorities that signed the API server's certificate
	// and that of the OAuth server.
	CAFile string `json:"ca_file,omitempty"`
}

// String names the cluster without its password.
func (a Args) String() string {
	if a.URL != "" {
		return fmt.Sprintf("%s (%s as %s)", a.cluster(), redactURL(a.URL), a.Username)
	}
	return a.cluster()
}

// GoString is String, so that %#v does not show the password either.
func (a Args) GoString() string { return a.String() }

// LogValue is String, for log/slog.
func (a Args) LogValue() slog.Value { return slog.StringValue(a.String()) }

func (a Args) cluster() string {
	for _, s := range []string{a.Name, a.Context, redactURL(a.URL), a.Kubeconfig} {
		if s != "" {
			return s
		}
	}
	return "default kubeconfig"
}

func redactURL(s string) string {
	if u, err := url.Parse(s); err == nil {
		return u.Redacted()
	}
	return "unreadable URL"
}

// atHome replaces a leading ~/ of the files' paths by the home folder, as shells do.
func (a Args) atHome() (Args, error) {
	for _, path := range []*string{&a.Kubeconfig, &a.CAFile} {
		rest, ok := strings.CutPrefix(*path, "~/")
		if !ok {
			continue
		}
		home, err := os.UserHomeDir()
		if err != nil {
			return a, fmt.Errorf("%s: %s: %w: write the whole path", a.cluster(), *path, err)
		}
		*path = filepath.Join(home, rest)
	}
	return a, nil
}

// validate refuses arguments that contradict each other or miss a part.
func (a Args) validate() error {
	fail := func(field, problem, remedy string) error {
		return &Error{Kind: ErrInvalid, Cluster: a.cluster(), Field: field, Problem: problem, Remedy: remedy}
	}
	if a.URL == "" {
		if a.Username != "" || a.Password != "" {
			return fail("url", "username and password are given, but no url", "set url to the API server's address, https://host:port")
		}
		return nil
	}
	if a.Kubeconfig != "" || a.Context != "" {
		return fail("url", "url and kubeconfig or context are both given", "keep one of them")
	}
	u, err := url.Parse(a.URL)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return fail("url", fmt.Sprintf("%q is not an https URL", redactURL(a.URL)), "write it as https://host:port")
	case u.User != nil:
		return fail("url", "the URL holds credentials", "use username and password")
	case a.Username == "":
		return fail("username", "no username is given", "set username and password, or use kubeconfig and context")
	case a.Password == "":
		return fail("password", "no password is given", "set username and password, or use kubeconfig and context")
	}
	return nil
}
