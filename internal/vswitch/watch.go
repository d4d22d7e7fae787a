package vswitch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/ovn-kubernetes/libovsdb/cache"
	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"golang.org/x/sync/errgroup"
)

// The columns that matter here (ovs-vswitchd.conf.db(5)).
type (
	bridgeRow struct {
		UUID         string   `ovsdb:"_uuid"`
		Name         string   `ovsdb:"name"`
		DatapathType string   `ovsdb:"datapath_type"`
		Ports        []string `ovsdb:"ports"`
	}
	portRow struct {
		UUID       string   `ovsdb:"_uuid"`
		Name       string   `ovsdb:"name"`
		Interfaces []string `ovsdb:"interfaces"`
	}
	interfaceRow struct {
		UUID        string            `ovsdb:"_uuid"`
		Name        string            `ovsdb:"name"`
		OFPort      *int              `ovsdb:"ofport"`
		ExternalIDs map[string]string `ovsdb:"external_ids"`
	}
)

// Watch follows the database, and the flows by an OpenFlow flow monitor. Of a port whose
// link goes or is made again it may not tell; the kernel does (tunnelns.Part's Watch).
func (o *OVS) Watch(ctx context.Context, bridge string, notify func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return tunnelns.KeepWatching(ctx, o.log, func(ctx context.Context) error { return o.watchDatabase(ctx, notify) })
	})
	g.Go(func() error { return o.keepMonitoring(ctx, bridge, notify) })
	return g.Wait()
}

func (o *OVS) watchDatabase(ctx context.Context, notify func()) error {
	schema, err := model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		"Bridge": &bridgeRow{}, "Port": &portRow{}, "Interface": &interfaceRow{},
	})
	if err != nil {
		return fmt.Errorf("describe the switch's database: %w", err)
	}
	db, err := client.NewOVSDBClient(schema, client.WithEndpoint(o.database()))
	if err != nil {
		return fmt.Errorf("follow the switch's database: %w", err)
	}
	if err := db.Connect(ctx); err != nil {
		return fmt.Errorf("connect to the switch's database: %w", err)
	}
	defer db.Close()
	lost := db.DisconnectNotify()
	db.Cache().AddEventHandler(&cache.EventHandlerFuncs{
		AddFunc:    func(string, model.Model) { notify() },
		UpdateFunc: func(string, model.Model, model.Model) { notify() },
		DeleteFunc: func(string, model.Model) { notify() },
	})
	if _, err := db.Monitor(ctx, db.NewMonitor(
		client.WithTable(&bridgeRow{}), client.WithTable(&portRow{}), client.WithTable(&interfaceRow{}),
	)); err != nil {
		return fmt.Errorf("monitor the switch's database: %w", err)
	}
	select {
	case <-ctx.Done():
		return nil
	case <-lost:
		notify()
		return errors.New("the switch's database closed the connection")
	}
}

// keepMonitoring runs the flow monitor whenever the bridge has a management socket. It
// ends with ovs-vswitchd or the bridge, and so tells of their restart, which the
// database does not.
func (o *OVS) keepMonitoring(ctx context.Context, bridge string, notify func()) error {
	sockets, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the switch's sockets: %w", err)
	}
	defer sockets.Close()
	socket := filepath.Join(o.runDir, bridge+".mgmt")
	for ctx.Err() == nil {
		_ = sockets.Add(o.runDir) // the folder may not be there yet, or be another one
		if _, err := os.Stat(socket); err == nil {
			o.monitor(ctx, bridge, notify)
			notify()
		}
		pause(ctx, sockets.Events, socket)
	}
	return nil
}

// pause waits for the socket to be made, or a second.
func pause(ctx context.Context, events <-chan fsnotify.Event, socket string) {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case e := <-events:
			if e.Name == socket && e.Has(fsnotify.Create) {
				return
			}
		}
	}
}

// monitor runs one flow monitor to its end and reports changes of flows with our cookie.
func (o *OVS) monitor(ctx context.Context, bridge string, notify func()) {
	cmd := exec.CommandContext(ctx, "ovs-ofctl", "-O", "OpenFlow13", "--no-names", "monitor", bridge, "watch:!initial,!actions")
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.runDir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout // ovs-ofctl prints messages there
		err = cmd.Start()
	}
	if err != nil {
		o.log.Warn("flows are not monitored", "bridge", bridge, "error", err)
		return
	}
	notify() // what changed before the monitor ran
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		if concernsUs(line) {
			notify()
		}
	}
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		o.log.Info("the flow monitor ended", "bridge", bridge, "reason", err)
	}
}
