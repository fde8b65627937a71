package agent

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// liveKeys are what Reload changes in a running agent. Everything else is wired in when the agent is opened.
func liveKeys() []string {
	return []string{
		"log_level", "leave_on_interrupt", "leave_on_terminate",
		"server.retry_join", "server.retry_interval", "server.snapshots.interval", "server.snapshots.retain", "server.snapshots.directory",
		"client.meta",
	}
}

// Config is what this agent goes by: what it was opened with, and what Reload has changed since.
func (a *Agent) Config() Config { return *a.current.Load() }

// Reload takes over what can be changed in a running agent, and says in the log what that is and what needs a restart. A
// configuration that is wrong changes nothing.
func (a *Agent) Reload(cfg Config) error {
	now := a.Config()
	if cfg.Dev && cfg.DataDir == "" {
		cfg.DataDir = a.opened.DataDir // a temporary one, which the files do not know
	}
	if err := cfg.Validate(); err != nil {
		return a.RefuseReload(err)
	}
	changed, restart := changedKeys(now, a.opened, cfg)
	next := now
	for _, k := range ConfigKeys() {
		if slices.Contains(changed, k.Path) {
			reflect.ValueOf(k.field(&next)).Elem().Set(reflect.ValueOf(k.field(&cfg)).Elem())
		}
	}
	a.current.Store(&next)
	a.log.SetLevel(hclog.LevelFromString(next.LogLevel))
	if next.LogLevel != now.LogLevel {
		a.log.Debug("log level changed", "from", now.LogLevel, "to", next.LogLevel)
	}
	if a.client != nil {
		a.client.lookAgain()
	}
	a.metrics.reloads.WithLabelValues(reloadApplied).Inc()
	if len(changed)+len(restart) == 0 {
		a.log.Info("configuration read anew, nothing has changed")
	}
	if len(changed) > 0 {
		a.log.Info("configuration changed", "keys", strings.Join(changed, ", "))
	}
	if len(restart) > 0 {
		a.log.Warn("these changes of the configuration need a restart of the agent; what it runs runs on", "keys", strings.Join(restart, ", "))
	}
	return nil
}

// RefuseReload says that a configuration is not taken, and returns why.
func (a *Agent) RefuseReload(err error) error {
	a.metrics.reloads.WithLabelValues(reloadRefused).Inc()
	a.log.Error("configuration not taken, the old one stays", "error", err)
	return fmt.Errorf("reload: %w", err)
}

// changedKeys are the keys that take effect at once, compared with what counts now, and those that need a restart, compared with
// what the agent was opened with.
func changedKeys(now, opened, next Config) (changed, restart []string) {
	for _, k := range ConfigKeys() {
		if strings.Contains(k.Path, ".server_join.") || strings.HasPrefix(k.Path, registryBlock) {
			continue // other names of the same, and what is compared as a whole
		}
		live := slices.Contains(liveKeys(), k.Path)
		old := opened
		if live {
			old = now
		}
		switch was, is := reflect.ValueOf(k.field(&old)).Elem(), reflect.ValueOf(k.field(&next)).Elem(); {
		case reflect.DeepEqual(was.Interface(), is.Interface()) || emptied(was, is):
		case live:
			changed = append(changed, k.Path)
		default:
			restart = append(restart, k.Path)
		}
	}
	if !reflect.DeepEqual(opened.Client.Devices, next.Client.Devices) {
		restart = append(restart, "client.device")
	}
	if !reflect.DeepEqual(opened.Drivers.Containers.Registries, next.Drivers.Containers.Registries) {
		restart = append(restart, registryBlock)
	}
	return changed, restart
}

// emptied reports whether two lists or maps hold nothing, one of them because it was never there.
func emptied(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Slice, reflect.Map:
		return a.Len() == 0 && b.Len() == 0
	}
	return false
}
