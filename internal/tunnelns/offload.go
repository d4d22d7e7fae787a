package tunnelns

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtool commands (linux/ethtool.h): the one that reads a feature and the one that
// sets it. Checksums come last: without them the kernel drops segmentation itself.
var offloads = []struct {
	name     string
	get, set uint32
}{
	{"tcp segmentation", 0x1e, 0x1f},
	{"generic segmentation", 0x23, 0x24},
	{"tx checksum", 0x16, 0x17},
}

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct{ cmd, data uint32 }

// ifreq is struct ifreq with its pointer member.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// syncOffloads turns off what a userspace switch cannot make good. It never turns
// anything on: without that switch the link's own setting stays.
func (p *Part) syncOffloads() (changes []string, err error) {
	if !p.cfg.UserspaceDatapath() {
		return nil, nil
	}
	err = p.cfg.Namespace.Do(func() error {
		for _, o := range offloads {
			on, err := ethtool(p.cfg.Inside, ethtoolValue{cmd: o.get})
			if err != nil {
				return fmt.Errorf("read %s offload of %s: %w", o.name, p.cfg.Inside, err)
			}
			if on == 0 {
				continue
			}
			if _, err := ethtool(p.cfg.Inside, ethtoolValue{cmd: o.set}); err != nil {
				return fmt.Errorf("turn off %s offload of %s: %w", o.name, p.cfg.Inside, err)
			}
			changes = append(changes, fmt.Sprintf("%s: %s offload off", p.cfg.Inside, o.name))
		}
		return nil
	})
	return changes, err
}

func ethtool(link string, v ethtoolValue) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	var pin runtime.Pinner
	pin.Pin(&v)
	defer pin.Unpin()
	req := ifreq{data: unsafe.Pointer(&v)}
	copy(req.name[:unix.IFNAMSIZ-1], link)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return 0, errno
	}
	return v.data, nil
}
