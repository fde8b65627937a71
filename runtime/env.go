package runtime

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/drover-io/drover/state"
)

// envPrefixes are the prefixes of what tasks find in their environment. Both are set: images and templates that people have
// already depend on the first.
var envPrefixes = [...]string{"NOMAD_", "DROVER_"}

// envInput is what a task's environment and configuration are made from.
type envInput struct {
	alloc  *state.Alloc
	job    *state.Job
	group  *state.TaskGroup
	task   *state.Task
	node   *state.Node
	spec   TaskSpec
	inside bool              // the task sees its directories at /alloc, /local, /secrets
	base   map[string]string // what it inherits

	devices map[string]string // what comes with its devices, whole names
}

// fill completes the specification: environment first, then what refers to it.
func (in envInput) fill() (TaskSpec, error) {
	spec := in.spec
	env := map[string]string{}
	maps.Copy(env, in.base)
	for name, v := range in.builtin() {
		for _, prefix := range envPrefixes {
			env[prefix+name] = v
		}
	}
	maps.Copy(env, in.devices)
	first := newScope(in.node, env)
	own := make(map[string]string, len(in.task.Env))
	for _, name := range slices.Sorted(maps.Keys(in.task.Env)) {
		key, err := first.expand(name)
		if err != nil {
			return spec, fmt.Errorf("env %s: %w", name, err)
		}
		if own[key], err = first.expand(in.task.Env[name]); err != nil {
			return spec, fmt.Errorf("env %s: %w", name, err)
		}
	}
	maps.Copy(env, own)
	scope := newScope(in.node, env)
	config, err := scope.expandAll(map[string]any(in.task.Config), "config")
	if err != nil {
		return spec, err
	}
	spec.Config, _ = config.(map[string]any)
	if spec.User, err = scope.expand(in.task.User); err != nil {
		return spec, fmt.Errorf("user: %w", err)
	}
	spec.Env = env
	return spec, nil
}

// builtin is the environment that every task has, without prefixes.
func (in envInput) builtin() map[string]string {
	a := in.alloc
	env := map[string]string{
		"ALLOC_ID":       a.ID,
		"SHORT_ALLOC_ID": a.ID[:min(8, len(a.ID))],
		"ALLOC_NAME":     a.Name,
		"ALLOC_INDEX":    strconv.Itoa(a.Index),
		"TASK_NAME":      in.task.Name,
		"GROUP_NAME":     a.TaskGroup,
		"JOB_ID":         in.job.ID,
		"JOB_NAME":       in.job.Name,
		"NAMESPACE":      a.Namespace,
		"REGION":         in.job.Region,
		"DC":             in.node.Datacenter,
		"CPU_LIMIT":      strconv.Itoa(in.task.Resources.CPUOn(&in.node.Resources)),
		"MEMORY_LIMIT":   strconv.Itoa(in.task.Resources.MemoryMB),
		"ALLOC_DIR":      in.spec.Dirs.Alloc,
		"TASK_DIR":       in.spec.Dirs.Local,
		"SECRETS_DIR":    in.spec.Dirs.Secrets,
	}
	if in.inside {
		env["ALLOC_DIR"], env["TASK_DIR"], env["SECRETS_DIR"] = "/alloc", "/local", "/secrets"
	}
	if soft := in.spec.Limits.MemorySoftMB; soft > 0 {
		env["MEMORY_MAX_LIMIT"] = strconv.FormatInt(in.spec.Limits.MemoryMB, 10)
	}
	if own := in.group.TaskCores(&a.Resources, in.task.Name); len(own) > 0 {
		env["CPU_CORES"] = FormatCores(own)
	}
	if in.spec.Cgroup != "" {
		env["PARENT_CGROUP"] = filepath.Dir(in.spec.Cgroup)
	}
	in.network(env)
	for key, v := range in.meta() {
		name := cleanName(key)
		env["META_"+name] = v
		env["META_"+strings.ToUpper(name)] = v
	}
	return env
}

// network adds the allocation's ports.
func (in envInput) network(env map[string]string) {
	for _, p := range in.alloc.Ports {
		to := p.To
		if to <= 0 {
			to = p.HostPort
		}
		inner := p.AllocIP
		if inner == "" {
			inner = p.HostIP
		}
		label, host, bind := cleanName(p.Label), strconv.Itoa(p.HostPort), strconv.Itoa(to)
		env["IP_"+label], env["HOST_IP_"+label], env["ALLOC_IP_"+label] = p.HostIP, p.HostIP, inner
		env["PORT_"+label], env["HOST_PORT_"+label], env["ALLOC_PORT_"+label] = bind, host, bind
		env["ADDR_"+label] = net.JoinHostPort(p.HostIP, host)
		env["HOST_ADDR_"+label] = net.JoinHostPort(p.HostIP, host)
		env["ALLOC_ADDR_"+label] = net.JoinHostPort(inner, bind)
	}
}

// meta is the job's, the group's and the task's, the inner winning.
func (in envInput) meta() map[string]string {
	all := map[string]string{}
	maps.Copy(all, in.job.Meta)
	maps.Copy(all, in.group.Meta)
	maps.Copy(all, in.task.Meta)
	return all
}

// cleanName makes a name of an environment variable: what shells do not take becomes an underscore.
func cleanName(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, s)
}
