# A weak symbol in tier code could become the whole program's copy of an inline function, built for
# an instruction set that the machine may lack. Only the tier's entry point may be visible.
foreach(object ${OBJECTS})
  execute_process(COMMAND ${NM} --defined-only --extern-only --demangle ${object}
                  OUTPUT_VARIABLE symbols RESULT_VARIABLE result)
  if(result)
    message(FATAL_ERROR "cannot read ${object}")
  endif()
  string(REGEX REPLACE "[0-9a-f]+ T quire::kernels::[A-Za-z0-9]+Kernels\\(\\)\n" "" rest
         "${symbols}")
  if(NOT rest STREQUAL "" OR symbols STREQUAL "")
    message(FATAL_ERROR "${object} must define its entry point and nothing else; it defines:\n"
                        "${symbols}")
  endif()
endforeach()
