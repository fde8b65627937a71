package state

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// sortErrors makes the order of problems that were found in map order the same everywhere.
func sortErrors(errs []error) {
	slices.SortStableFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
}

func (v validation) taskGroup(g *TaskGroup) {
	v.name("name", g.Name)
	v.between("count", g.Count, 0, maxCount, "")
	v.constraints(g.Constraints)
	v.affinities(g.Affinities)
	v.spreads(g.Spreads)
	v.pairs("meta", g.Meta, maxMetaBytes)
	v.networks(g.Networks)
	v.restart(&g.RestartPolicy)
	v.reschedule(&g.ReschedulePolicy)
	v.between("update.max_parallel", g.Update.MaxParallel, 0, maxCount, "")
	v.between("ephemeral_disk.size", g.EphemeralDisk.SizeMB, 1, maxAmount, " MiB")
	v.atMost("task", len(g.Tasks), maxTasks)
	if len(g.Tasks) == 0 {
		v.refuse("task", "there must be at least one")
	}
	seen, leaders := map[string]bool{}, 0
	for i := range g.Tasks[:min(len(g.Tasks), maxTasks)] {
		t := &g.Tasks[i]
		if seen[t.Name] {
			v.refuse("task", "%q is there twice", t.Name)
		}
		seen[t.Name] = true
		if t.Leader {
			leaders++
		}
		validation{errs: v.errs, group: g.Name, task: t.Name}.oneTask(t, g)
	}
	if leaders > 1 {
		v.refuse("task", "at most one can be the leader, %d are", leaders)
	}
}

func (v validation) networks(networks []Network) {
	v.atMost("network", len(networks), 1)
	for i := range networks[:min(len(networks), 1)] {
		n := &networks[i]
		if n.Mode != "host" {
			v.refuse("network.mode", `must be "host", is %q`, n.Mode)
		}
		ports := len(n.ReservedPorts) + len(n.DynamicPorts)
		v.atMost("network.port", ports, maxPorts)
		if ports > maxPorts {
			return
		}
		labels, static := map[string]bool{}, map[int]bool{}
		for _, p := range slices.Concat(n.ReservedPorts, n.DynamicPorts) {
			v.port(p, labels)
		}
		for _, p := range n.ReservedPorts {
			v.between("network.port."+p.Label+".static", p.Value, 1, 65535, "")
			if static[p.Value] {
				v.refuse("network.port."+p.Label+".static", "port %d is there twice", p.Value)
			}
			static[p.Value] = true
		}
		for _, p := range n.DynamicPorts {
			if p.Value != 0 {
				v.refuse("network.port."+p.Label, "a dynamic port has no number, it has %d", p.Value)
			}
		}
	}
}

func (v validation) port(p Port, labels map[string]bool) {
	v.name("network.port", p.Label)
	if labels[p.Label] {
		v.refuse("network.port", "label %q is there twice", p.Label)
	}
	labels[p.Label] = true
	v.between("network.port."+p.Label+".to", p.To, -1, 65535, "")
}

func (v validation) restart(p *RestartPolicy) {
	if p.Mode != RestartModeFail && p.Mode != RestartModeDelay {
		v.refuse("restart.mode", "must be %q or %q, is %q", RestartModeFail, RestartModeDelay, p.Mode)
	}
	v.between("restart.attempts", p.Attempts, 0, maxCount, "")
	switch {
	case p.Interval < minInterval:
		v.refuse("restart.interval", "must be at least %s, is %s", minInterval, p.Interval)
	case p.Delay < 0:
		v.refuse("restart.delay", "must not be negative, is %s", p.Delay)
	case p.Attempts > 0 && p.Delay > p.Interval/time.Duration(p.Attempts):
		v.refuse("restart", "%d attempts with a delay of %s do not fit into an interval of %s", p.Attempts, p.Delay, p.Interval)
	}
}

func (v validation) reschedule(p *ReschedulePolicy) {
	v.between("reschedule.attempts", p.Attempts, 0, maxCount, "")
	if p.Attempts > 0 && p.Unlimited {
		v.refuse("reschedule", "attempts and unlimited exclude each other")
	}
	if p.Attempts <= 0 && !p.Unlimited { // never rescheduled: the rest has no meaning
		return
	}
	if p.Attempts > 0 && p.Interval < minReschedule {
		v.refuse("reschedule.interval", "must be at least %s, is %s", minReschedule, p.Interval)
	}
	if p.Delay < minInterval {
		v.refuse("reschedule.delay", "must be at least %s, is %s", minInterval, p.Delay)
	}
	switch p.DelayFunction {
	case DelayConstant:
	case DelayExponential, DelayFibonacci:
		if p.MaxDelay < p.Delay {
			v.refuse("reschedule.max_delay", "must be at least the delay of %s, is %s", p.Delay, p.MaxDelay)
		}
	default:
		v.refuse("reschedule.delay_function", "must be %q, %q or %q, is %q",
			DelayConstant, DelayExponential, DelayFibonacci, p.DelayFunction)
	}
}

func (v validation) oneTask(t *Task, g *TaskGroup) {
	v.name("name", t.Name)
	if t.Name == "alloc" {
		v.refuse("name", `must not be "alloc", the directory that the tasks share`)
	}
	v.name("driver", t.Driver)
	if err := checkText(t.User); err != nil {
		v.refuse("user", "%v", err)
	}
	v.config(t.Config)
	v.pairs("env", t.Env, maxEnvBytes)
	v.pairs("meta", t.Meta, maxMetaBytes)
	v.constraints(t.Constraints)
	v.affinities(t.Affinities)
	v.resources(&t.Resources)
	v.restart(&t.RestartPolicy)
	v.logs(&t.LogConfig, g.EphemeralDisk.SizeMB)
	if t.KillTimeout < 0 {
		v.refuse("kill_timeout", "must not be negative, is %s", t.KillTimeout)
	}
	if t.KillSignal != "" && !KnownSignal(t.KillSignal) {
		v.refuse("kill_signal", "%q is not a signal; write SIGTERM, SIGINT, SIGUSR1 …", t.KillSignal)
	}
}

func (v validation) logs(l *LogConfig, diskMB int) {
	if l.Disabled {
		return
	}
	v.between("logs.max_files", l.MaxFiles, 1, maxCount, "")
	v.between("logs.max_file_size", l.MaxFileSizeMB, 1, maxAmount/maxTasks, " MiB")
	if keep := l.MaxFiles * l.MaxFileSizeMB; l.MaxFiles > 0 && l.MaxFileSizeMB > 0 && keep >= diskMB {
		v.refuse("logs", "%d files of %d MiB do not fit into an ephemeral_disk of %d MiB", l.MaxFiles, l.MaxFileSizeMB, diskMB)
	}
}

// KnownSignal reports whether name, such as "SIGTERM", is a signal that a task may ask for.
func KnownSignal(name string) bool {
	short, ok := strings.CutPrefix(name, "SIG")
	if !ok {
		return false
	}
	switch short {
	case "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR", "QUIT",
		"SEGV", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ":
		return true
	}
	return false
}
