package soft
import ("testing";"fmt")
func TestZZ(t *testing.T){ r:=longRig(t); c:=r.c; c.rflags|=flagIF; e:=event{vector:0x40,kind:eventInterrupt}; fmt.Println(c.through(e,c.rip), c.fault); v,ok:=c.readSystem(atIDT+0x400,8); fmt.Printf("%x %v %x\n",v,ok, gateOf(selCode64, handler(0x40), typeInterrupt, 3)) 
d,ok:=c.handlerSegment(selCode64); fmt.Printf("%x %v %v %x\n",d,ok,c.fault, c.gdtr)
}
