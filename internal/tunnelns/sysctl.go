package tunnelns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// procSys is where sysctls are; those below net are of the reader's namespace.
const procSys = "/proc/sys/net"

type sysctl struct{ name, value string }

// syncSysctls lets the namespace forward, and keeps it from sending redirects: their
// rate limit would eat the errors that matter. Both are set on each link too, as the
// kernel takes the larger of "all" and the link's own.
func (p *Part) syncSysctls(dp mesh.DataPlane) (changes []string, err error) {
	err = p.cfg.Namespace.Do(func() error {
		changes, err = setSysctls(forwarding(hasIPv6(dp)))
		return err
	})
	if err != nil {
		return changes, fmt.Errorf("%v: %w", p.cfg.Namespace, err)
	}
	// The outer end carries other stations' packets only; the node has no address on it.
	err = p.cfg.Node.Do(func() error {
		more, err := setSysctls([]sysctl{{"ipv6/conf/" + p.cfg.Outside + "/disable_ipv6", "1"}})
		changes = append(changes, more...)
		return err
	})
	return changes, err
}

func forwarding(ipv6 bool) []sysctl {
	want := []sysctl{{"ipv4/ip_forward", "1"}}
	links, _ := filepath.Glob(procSys + "/ipv4/conf/*")
	for _, l := range links {
		name := "ipv4/conf/" + filepath.Base(l)
		want = append(want, sysctl{name + "/send_redirects", "0"}, sysctl{name + "/rp_filter", "2"})
	}
	if ipv6 {
		want = append(want, sysctl{"ipv6/conf/all/forwarding", "1"})
	}
	return want
}

func hasIPv6(dp mesh.DataPlane) bool {
	for _, p := range slices.Concat(dp.Local, dp.Remote) {
		if p.Addr().Is6() {
			return true
		}
	}
	return false
}

// setSysctls writes what differs. A file that is not there belongs to a kernel without
// that protocol, or to a link that has just gone.
func setSysctls(want []sysctl) (changes []string, err error) {
	for _, s := range want {
		path := filepath.Join(procSys, s.name)
		have, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return changes, fmt.Errorf("read sysctl net/%s: %w", s.name, err)
		}
		if strings.TrimSpace(string(have)) == s.value {
			continue
		}
		if err := os.WriteFile(path, []byte(s.value), 0o644); err != nil {
			return changes, fmt.Errorf("set sysctl net/%s: %w", s.name, err)
		}
		changes = append(changes, fmt.Sprintf("sysctl net/%s=%s", s.name, s.value))
	}
	return changes, nil
}
