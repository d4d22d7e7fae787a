package wg

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"
	"golang.zx2c4.com/wireguard/tun"
)

// userDevice is WireGuard in this process: a TUN interface in the tunnel's namespace, a
// UDP socket in the node's, and the control socket that wgctrl and wg(8) look for. A nil
// one is none.
type userDevice struct {
	dev  *device.Device
	uapi net.Listener
}

func startUser(c Config, mtu int) (*userDevice, error) {
	var dev *device.Device
	err := c.Namespace.Do(func() error {
		t, err := tun.CreateTUN(c.Link, mtu)
		if err != nil {
			return fmt.Errorf("make TUN interface %s in %v (/dev/net/tun must be there): %w", c.Link, c.Namespace, err)
		}
		dev = device.NewDevice(nsTUN{t, c.Namespace}, bind(c.Node), logger(c.Log))
		return nil
	})
	if err != nil {
		return nil, err
	}
	file, err := ipc.UAPIOpen(c.Link)
	if err != nil {
		dev.Close()
		return nil, fmt.Errorf("open the control socket of %s: %w", c.Link, err)
	}
	defer file.Close()
	uapi, err := ipc.UAPIListen(c.Link, file)
	if err != nil {
		dev.Close()
		return nil, fmt.Errorf("listen on the control socket of %s: %w", c.Link, err)
	}
	u := &userDevice{dev: dev, uapi: uapi}
	go u.serve()
	return u, nil
}

// serve answers the control socket until it is closed.
func (u *userDevice) serve() {
	for {
		c, err := u.uapi.Accept()
		if err != nil {
			return
		}
		go u.dev.IpcHandle(c)
	}
}

// alive tells whether the device still runs; it ends when its interface is deleted.
func (u *userDevice) alive() bool {
	if u == nil {
		return false
	}
	select {
	case <-u.dev.Wait():
		return false
	default:
		return true
	}
}

// up opens the UDP socket; a link that is set up does so too, but tells no errors.
func (u *userDevice) up() error {
	if u == nil {
		return nil
	}
	return u.dev.Up()
}

func (u *userDevice) close() {
	if u == nil {
		return
	}
	_ = u.uapi.Close()
	u.dev.Close()
}

// nsTUN asks for the MTU in the namespace where the interface is.
type nsTUN struct {
	tun.Device
	ns tunnelns.Namespace
}

func (t nsTUN) MTU() (mtu int, err error) {
	doErr := t.ns.Do(func() error {
		mtu, err = t.Device.MTU()
		return nil
	})
	return mtu, errors.Join(err, doErr)
}

// nsBind opens its sockets in another namespace than the process's.
type nsBind struct {
	conn.Bind
	ns tunnelns.Namespace
}

func bind(node tunnelns.Namespace) conn.Bind {
	if node.Path() == "" {
		return conn.NewDefaultBind()
	}
	return nsBind{conn.NewDefaultBind(), node}
}

func (b nsBind) Open(port uint16) (fns []conn.ReceiveFunc, actual uint16, err error) {
	err = b.ns.Do(func() error {
		fns, actual, err = b.Bind.Open(port)
		return err
	})
	return fns, actual, err
}

func logger(log *slog.Logger) *device.Logger {
	return &device.Logger{
		Verbosef: func(f string, a ...any) { log.Debug(fmt.Sprintf(f, a...)) },
		Errorf:   func(f string, a ...any) { log.Warn(fmt.Sprintf(f, a...)) },
	}
}
