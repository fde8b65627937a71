package state

import (
	"errors"
	"fmt"
	"math"
	"path"
	"strings"
	"time"
)

// Limits of a job and a node.
const (
	maxNameBytes   = 128
	maxGroups      = 100
	maxTasks       = 20
	maxCount       = 10_000
	maxPorts       = 100
	maxEnvBytes    = 32 << 10
	maxMetaBytes   = 16 << 10
	maxRegexpBytes = 256
	maxNesting     = 64
	minMemoryMB    = 10
	minInterval    = 5 * time.Second
	minReschedule  = 15 * time.Second
	maxAmount      = 1 << 30 // of MHz or MiB, so that no sum over a node's allocations can overflow
	maxAttributes  = 256 << 10
	maxSpreads     = 20
	maxTargets     = 100
	maxCores       = 4096
	maxMHzPerCore  = 100_000
	maxMilliCores  = maxCores * 1000
	maxDevices     = 64  // kinds of devices of a node
	maxAsked       = 20  // kinds of devices that a task asks for
	maxInstances   = 512 // of a kind of device
)

// FieldError is one thing that is wrong with a job. Job.Validate joins them.
type FieldError struct {
	Group   string // "" at the level of the job
	Task    string // "" at the level of the group
	Field   string // as written in a job file: "resources.memory"
	Problem string
}

// Error reads `group "web" task "server": resources.memory: must be at least 10 MiB, is 4`.
func (e *FieldError) Error() string {
	var b strings.Builder
	if e.Group != "" {
		fmt.Fprintf(&b, "group %q", truncate(e.Group, maxNameBytes))
	}
	if e.Task != "" {
		fmt.Fprintf(&b, " task %q", truncate(e.Task, maxNameBytes))
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	return b.String() + e.Problem
}

// validation collects what is wrong at one level of a job.
type validation struct {
	errs        *[]error
	group, task string
}

func (v validation) refuse(field, format string, args ...any) {
	*v.errs = append(*v.errs, &FieldError{Group: v.group, Task: v.task, Field: field, Problem: fmt.Sprintf(format, args...)})
}

func (v validation) name(field, name string) {
	if err := checkName(name); err != nil {
		v.refuse(field, "%v", err)
	}
}

func (v validation) between(field string, n, low, high int, unit string) {
	switch {
	case n < low:
		v.refuse(field, "must be at least %d%s, is %d", low, unit, n)
	case n > high:
		v.refuse(field, "must be at most %d%s, is %d", high, unit, n)
	}
}

func (v validation) atMost(field string, n, limit int) {
	if n > limit {
		v.refuse(field, "at most %d, there are %d", limit, n)
	}
}

// pairs bounds a map of strings: env, meta.
func (v validation) pairs(field string, m map[string]string, limit int) {
	size := 0
	for k, s := range m {
		size += len(k) + len(s)
	}
	if size > limit {
		v.refuse(field, "must be at most %d bytes in all, is %d", limit, size)
		return // thousands of keys are not looked at one by one
	}
	for _, k := range sortedKeys(m) {
		switch {
		case k == "" || strings.ContainsAny(k, "=\x00"):
			v.refuse(field, "%q is not a name", k)
		case strings.Contains(m[k], "\x00"):
			v.refuse(field+"."+k, "must not hold a NUL byte")
		}
	}
}

// checkName accepts what is safe in a path, a label and a URL: 1 to 128 of a-z A-Z 0-9 - _ . but not "." and "..".
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case len(name) > maxNameBytes:
		return fmt.Errorf("must be at most %d bytes, is %d", maxNameBytes, len(name))
	case name == "." || name == "..":
		return fmt.Errorf("must not be %q", name)
	}
	for _, c := range []byte(name) {
		if !nameByte(c) {
			return fmt.Errorf("may hold letters, digits, '-', '_' and '.', not %q", string(rune(c)))
		}
	}
	return nil
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// checkText accepts a short text for people.
func checkText(s string) error {
	if len(s) > maxNameBytes {
		return fmt.Errorf("must be at most %d bytes, is %d", maxNameBytes, len(s))
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			return errors.New("must not hold control characters")
		}
	}
	return nil
}

// Validate checks everything about a job that can be said without a cluster. The error joins one *FieldError per problem.
func (j *Job) Validate() error {
	var errs []error
	v := validation{errs: &errs}
	v.name("namespace", j.Namespace)
	v.name("id", j.ID)
	if err := checkText(j.Name); err != nil {
		v.refuse("name", "%v", err)
	} else if j.Name == "" {
		v.refuse("name", "must not be empty")
	}
	if j.Type != JobTypeService && j.Type != JobTypeBatch {
		v.refuse("type", "must be %q or %q, is %q", JobTypeService, JobTypeBatch, j.Type)
	}
	if j.Region != "" {
		v.name("region", j.Region)
	}
	v.name("node_pool", j.NodePool)
	v.datacenters(j.Datacenters)
	v.between("priority", j.Priority, 1, 100, "")
	v.constraints(j.Constraints)
	v.affinities(j.Affinities)
	v.spreads(j.Spreads)
	v.pairs("meta", j.Meta, maxMetaBytes)
	v.atMost("group", len(j.TaskGroups), maxGroups)
	if len(j.TaskGroups) == 0 {
		v.refuse("group", "there must be at least one")
	}
	seen := map[string]bool{}
	for i := range j.TaskGroups[:min(len(j.TaskGroups), maxGroups)] {
		g := &j.TaskGroups[i]
		if seen[g.Name] {
			v.refuse("group", "%q is there twice", g.Name)
		}
		seen[g.Name] = true
		validation{errs: &errs, group: g.Name}.taskGroup(g)
	}
	return errors.Join(errs...)
}

func (v validation) datacenters(dcs []string) {
	if len(dcs) == 0 {
		v.refuse("datacenters", `there must be at least one; "*" means any`)
	}
	v.atMost("datacenters", len(dcs), maxGroups)
	for _, dc := range dcs {
		if err := checkText(dc); err != nil || dc == "" {
			v.refuse("datacenters", "%q is not a name", dc)
		} else if _, err := path.Match(dc, ""); err != nil {
			v.refuse("datacenters", "%q is not a pattern: %v", dc, err)
		}
	}
}

// Validate checks what an agent says of its machine. The error joins one problem per line.
func (n *Node) Validate() error {
	var errs []error
	v := validation{errs: &errs}
	v.name("id", n.ID)
	v.name("name", n.Name)
	v.name("datacenter", n.Datacenter)
	v.name("node_pool", n.NodePool)
	for field, s := range map[string]string{"node_class": n.NodeClass, "region": n.Region} {
		if s != "" {
			v.name(field, s)
		}
	}
	for field, s := range map[string]string{"peer address": n.PeerAddr, "http address": n.HTTPAddr, "host ip": n.HostIP, "boot id": n.BootID} {
		if err := checkText(s); err != nil {
			v.refuse(field, "%v", err)
		}
	}
	r := n.Resources
	v.between("cpu", r.CPU, 0, maxAmount, " MHz")
	v.between("memory", r.MemoryMB, 0, maxAmount, " MiB")
	v.between("disk", r.DiskMB, 0, maxAmount, " MiB")
	v.between("min_dynamic_port", r.MinDynamicPort, 0, 65535, "")
	v.between("max_dynamic_port", r.MaxDynamicPort, r.MinDynamicPort, 65535, "")
	v.atMost("reserved_ports", len(r.ReservedPorts), 65535)
	if n.Boot > math.MaxInt64 {
		v.refuse("boot", "%d is out of range", n.Boot)
	}
	if size := len(marshal(n.Attributes)) + len(marshal(n.Meta)) + len(marshal(n.Drivers)); size > maxAttributes {
		v.refuse("attributes", "attributes, meta and drivers must be at most %d bytes in all, are %d", maxAttributes, size)
	}
	if n.NodePool == NodePoolAll {
		v.refuse("node_pool", "%q is every node; name another pool", NodePoolAll)
	}
	v.nodeCores(&r)
	v.nodeDevices(r.Devices)
	sortErrors(errs)
	return errors.Join(errs...)
}
