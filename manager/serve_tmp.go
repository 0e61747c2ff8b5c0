package manager

func (p *parts) serve() error { return nil }
