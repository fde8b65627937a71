package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/agent"
)

// leaveWithin bounds how long an agent that was told to end may take to leave.
const leaveWithin = 30 * time.Second

func runAgent(ctx context.Context, a *app, f agentFlags, given []agent.ConfigFlag) error {
	src := agent.ConfigSources{Dev: f.dev, Files: f.configs, Env: a.getenv, Flags: given}
	cfg, err := loadConfig(a, src)
	if err != nil {
		return err
	}
	discard, err := cfg.MakeDataDir()
	if err != nil {
		return err
	}
	log := hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Name: "drover", Level: hclog.LevelFromString(cfg.LogLevel), JSONFormat: cfg.LogJSON, Output: a.err,
	})
	tending, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { tendGarbage(tending) })
	manager := newNotifier(a.getenv, log)
	ag, err := agent.Open(ctx, cfg, agent.Options{Version: version, Logger: log, Drivers: a.drivers, Ready: manager.ready})
	if err != nil {
		return errors.Join(err, discard()) // nothing has run in it
	}
	printScreen(a.out, cfg, ag)
	k := &keeper{app: a, src: src, agent: ag, log: log, manager: manager, terminal: isTerminal(a.in)}
	ctx, release := k.keep(ctx)
	err = ag.Run(ctx)
	manager.stopping()
	release()
	if cerr := ag.Close(); err == nil {
		err = cerr
	}
	if err == nil { // a temporary directory is not removed: what runs in it runs on
		_, err = fmt.Fprintf(a.out, "\nAgent stopped. What it ran runs on; an agent started on the same data directory takes it up:\n  --data-dir %s\n", cfg.DataDir)
	}
	return err
}

// keeper makes of the signals that a running agent gets what their senders mean.
type keeper struct {
	app      *app
	src      agent.ConfigSources
	agent    *agent.Agent
	log      hclog.Logger
	manager  *notifier
	terminal bool
}

// keep returns the context to run the agent with, and a function that gives the signals back. The agent ends some time after ctx
// has: when the configuration says so, it leaves first. SIGHUP has the configuration read anew; from a terminal that is closed it
// ends the agent in order. Ignoring that signal altogether would have every task ignore it.
func (k *keeper) keep(ctx context.Context) (run context.Context, release func()) {
	run, end := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 4)
	k.app.notify(signals, syscall.SIGHUP, os.Interrupt, syscall.SIGTERM)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer end()
		for {
			select {
			case <-run.Done():
				return
			case <-ctx.Done():
				// The signal that ended ctx is on its way here, too.
				select {
				case s := <-signals:
					k.ended(run, s)
				case <-time.After(100 * time.Millisecond):
				}
				return
			case s := <-signals:
				if s != syscall.SIGHUP || k.terminal {
					k.ended(run, s)
					return
				}
				k.reload()
			}
		}
	})
	return run, func() {
		end()
		wg.Wait()
		signal.Stop(signals)
	}
}

// ended lets the agent leave where the configuration wants that of a signal. One that may not leave ends like any other.
func (k *keeper) ended(ctx context.Context, s os.Signal) {
	cfg := k.agent.Config()
	switch {
	case s == os.Interrupt && cfg.LeaveOnInterrupt, s == syscall.SIGTERM && cfg.LeaveOnTerminate:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	if _, err := k.agent.Leave(ctx, true); err != nil {
		k.log.Error("this agent ends without leaving", "signal", s, "error", err)
	}
}

// reload reads the configuration anew. A bad one changes nothing.
func (k *keeper) reload() {
	k.manager.reloading()
	defer k.manager.ready()
	cfg, warnings, err := agent.LoadConfig(k.src)
	if err == nil {
		err = k.agent.Reload(cfg)
	} else {
		k.agent.RefuseReload(err)
	}
	if err != nil {
		return // the agent has said so
	}
	for _, w := range append(warnings, cfg.Warnings()...) {
		k.log.Warn("configuration", "warning", w)
	}
}
