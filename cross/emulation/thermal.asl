// A thermal zone whose temperature is byte 0x50 of the clock's memory (CMOS), in degrees Celsius: whoever may write to
// /dev/port sets it. Index at port 0x70, data at 0x71.
DefinitionBlock ("thermal.aml", "SSDT", 2, "VIGILD", "THERMAL", 1)
{
  Scope (\_SB) {
    OperationRegion (EPRT, SystemIO, 0x70, 0x02)
    Field (EPRT, ByteAcc, NoLock, Preserve) { EIDX, 8, EDAT, 8 }
    IndexField (EIDX, EDAT, ByteAcc, NoLock, Preserve) { Offset (0x50), ETMP, 8 }
  }
  Scope (\) {
    ThermalZone (TZ00) {
      Method (_TMP, 0, Serialized) { Return (Add (2732, Multiply (\_SB.ETMP, 10))) }   // tenths of a kelvin
      Method (_CRT, 0) { Return (Add (2732, 1200)) }                                   // 120 degrees: never reached
      Name (_TZP, 10)                                                                  // read every second
    }
  }
}
