package state

import (
	"errors"
	"strings"
)

func (v validation) affinities(as []Affinity) {
	v.atMost("affinity", len(as), maxGroups)
	for i := range as[:min(len(as), maxGroups)] {
		a := &as[i]
		if a.Operand == OperandDistinctHosts || a.Operand == OperandDistinctProperty {
			v.refuse("affinity", "operator %q is a constraint's; a spread block is the wish for it", a.Operand)
			continue
		}
		c := a.Constraint()
		v.condition("affinity", &c)
		if a.Weight == 0 {
			v.refuse("affinity.weight", "must not be 0, which means nothing; from -100 to 100")
		}
		v.between("affinity.weight", a.Weight, -100, 100, "")
	}
}

func (v validation) spreads(ss []Spread) {
	v.atMost("spread", len(ss), maxSpreads)
	seen := map[string]bool{}
	for i := range ss[:min(len(ss), maxSpreads)] {
		s := &ss[i]
		switch {
		case s.Attribute == "":
			v.refuse("spread.attribute", "must not be empty; such as ${node.datacenter}")
		case len(s.Attribute) > maxMetaBytes:
			v.refuse("spread.attribute", "must be at most %d bytes, is %d", maxMetaBytes, len(s.Attribute))
		case seen[s.Attribute]:
			v.refuse("spread", "attribute %q is there twice", s.Attribute)
		}
		seen[s.Attribute] = true
		v.between("spread.weight", s.Weight, 1, 100, "")
		v.spreadTargets(s.SpreadTarget)
	}
}

func (v validation) spreadTargets(targets []SpreadTarget) {
	v.atMost("spread.target", len(targets), maxTargets)
	sum, seen := 0, map[string]bool{}
	for _, t := range targets[:min(len(targets), maxTargets)] {
		if t.Value == "" || len(t.Value) > maxMetaBytes {
			v.refuse("spread.target", "a value must be 1 to %d bytes, is %d", maxMetaBytes, len(t.Value))
		}
		if seen[t.Value] {
			v.refuse("spread.target", "%q is there twice", truncate(t.Value, maxNameBytes))
		}
		seen[t.Value] = true
		v.between("spread.target.percent", t.Percent, 0, 100, "")
		sum += min(max(t.Percent, 0), 101)
	}
	if sum > 100 {
		v.refuse("spread.target.percent", "must be at most 100 in all, is %d", sum)
	}
}

func (v validation) resources(r *Resources) {
	switch {
	case r.Cores != 0 && (r.CPU != 0 || r.MilliCores != 0):
		v.refuse("resources.cores", "cores and cpu exclude each other; whole cores are all of their cpu")
	case r.MilliCores != 0 && r.CPU != 0:
		v.refuse("resources.cpu", "MHz and thousandths of a core exclude each other")
	case r.Cores != 0:
		v.between("resources.cores", r.Cores, 1, maxCores, "")
	case r.MilliCores != 0:
		v.between("resources.cpu", r.MilliCores, 1, maxMilliCores, " thousandths of a core")
	default:
		v.between("resources.cpu", r.CPU, 1, maxAmount/maxTasks, " MHz")
	}
	v.between("resources.memory", r.MemoryMB, minMemoryMB, maxAmount/maxTasks, " MiB")
	if r.MemoryMaxMB != 0 {
		if r.MemoryMaxMB < r.MemoryMB {
			v.refuse("resources.memory_max", "must be at least the memory of %d MiB, is %d", r.MemoryMB, r.MemoryMaxMB)
		}
		v.between("resources.memory_max", r.MemoryMaxMB, 0, maxAmount/maxTasks, " MiB")
	}
	v.atMost("resources.device", len(r.Devices), maxAsked)
	for i := range r.Devices[:min(len(r.Devices), maxAsked)] {
		d := &r.Devices[i]
		if problem := checkDeviceName(d.Name); problem != "" {
			v.refuse("resources.device", "%q %s", truncate(d.Name, maxNameBytes), problem)
		}
		v.between("resources.device.count", d.Count, 1, maxInstances, "")
		v.constraints(d.Constraints)
		v.affinities(d.Affinities)
	}
}

// checkDeviceName says what is wrong with "type", "vendor/type" or "vendor/type/name".
func checkDeviceName(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) > 3 {
		return `must be "type", "vendor/type" or "vendor/type/name"`
	}
	for _, p := range parts {
		if err := checkText(p); err != nil {
			return err.Error()
		}
		if p == "" {
			return `must be "type", "vendor/type" or "vendor/type/name"`
		}
	}
	return ""
}

func (v validation) nodeCores(r *NodeResources) {
	v.between("mhz per core", r.MHzPerCore, 0, maxMHzPerCore, "")
	v.atMost("cores", len(r.Cores), maxCores)
	for i, core := range r.Cores[:min(len(r.Cores), maxCores)] {
		if core < 0 || i > 0 && core <= r.Cores[i-1] {
			v.refuse("cores", "must be ascending from 0, %d is not", core)
			return
		}
	}
}

// nodeDevices checks, among the rest, that an instance's ID names it alone: plans and allocations say no more.
func (v validation) nodeDevices(devices []NodeDevice) {
	v.atMost("device", len(devices), maxDevices)
	seen, kinds := map[string]bool{}, map[string]bool{}
	for i := range devices[:min(len(devices), maxDevices)] {
		d := &devices[i]
		field := "device." + truncate(d.ID(), maxNameBytes)
		for _, part := range []string{d.Vendor, d.Type, d.Name} {
			if err := checkText(part); part == "" || strings.Contains(part, "/") || err != nil {
				v.refuse(field, "a vendor, a type and a name are needed, of at most %d bytes each and without a slash", maxNameBytes)
				break
			}
		}
		if kinds[d.ID()] {
			v.refuse(field, "is there twice")
		}
		kinds[d.ID()] = true
		if size := len(marshal(d.Attributes)); size > maxMetaBytes {
			v.refuse(field, "attributes must be at most %d bytes, are %d", maxMetaBytes, size)
		}
		v.atMost(field+".instance", len(d.Instances), maxInstances)
		for _, in := range d.Instances[:min(len(d.Instances), maxInstances)] {
			switch {
			case in.ID == "" || checkText(in.ID) != nil:
				v.refuse(field, "%q is not an instance's ID", truncate(in.ID, maxNameBytes))
			case seen[in.ID]:
				v.refuse(field, "instance %q is there twice", in.ID)
			case len(in.HealthDescription) > maxTextBytes:
				v.refuse(field, "the health of instance %q must be said in at most %d bytes", in.ID, maxTextBytes)
			}
			seen[in.ID] = true
		}
	}
}

// Validate checks everything about a node pool that can be said without a cluster. The error joins one problem per line.
func (p *NodePool) Validate() error {
	var errs []error
	v := validation{errs: &errs}
	v.name("name", p.Name)
	if len(p.Description) > maxTextBytes {
		v.refuse("description", "must be at most %d bytes, is %d", maxTextBytes, len(p.Description))
	}
	v.pairs("meta", p.Meta, maxMetaBytes)
	if c := p.SchedulerConfiguration; c != nil && c.SchedulerAlgorithm != "" {
		if err := checkAlgorithm(c.SchedulerAlgorithm); err != nil {
			v.refuse("scheduler_config.scheduler_algorithm", "%v", err)
		}
	}
	return errors.Join(errs...)
}
